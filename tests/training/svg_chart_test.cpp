#include "training/svg_chart.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

using Ticks = std::vector<double>;

void expectTicks(const Ticks& actual, const Ticks& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  // A tick is a whole number times a rounded step: two roundings.
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], std::abs(expected[i]) * 4.5e-16);
}

TEST(AxisTicks, areRoundNumbersAroundTheData) {
  expectTicks(axisTicks(0.21, 0.57, 6), {0.2, 0.3, 0.4, 0.5, 0.6});
  expectTicks(axisTicks(1, 10, 10, true), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  expectTicks(axisTicks(1, 3, 10, true), {1, 2, 3});
  expectTicks(axisTicks(-130, 260, 6), {-200, -100, 0, 100, 200, 300});
  expectTicks(axisTicks(5, 5, 10, true), {4, 5, 6});
}

TEST(AxisTicks, toleratesEveryRange) {
  const double tiny = std::numeric_limits<double>::denorm_min(), huge = std::numeric_limits<double>::max();
  for (double low : {0.0, tiny, -huge, -1.0, 1e16, 1e300}) {
    for (double high : {low, std::nextafter(low, huge), 1.0, huge}) {
      if (high < low) continue;
      const Ticks ticks = axisTicks(low, high, 6);
      EXPECT_GE(ticks.size(), 2u) << low << " " << high;
      EXPECT_LE(ticks.size(), 30u) << low << " " << high;
    }
  }
}

TEST(SvgChart, drawsCurves) {
  const std::string svg =
      svgChart({"Loss", "epoch", AxisFormat::number, {{"train", {{1, 0.5}, {2, 0.25}}}, {"test", {{2, 0.3}}}}});
  EXPECT_EQ(svg.find("<svg "), 0u);
  EXPECT_NE(svg.find(">train</text>"), std::string::npos);
  EXPECT_NE(svg.find(">epoch</text>"), std::string::npos);
  EXPECT_NE(svg.find("<title>train, epoch 2: 0.25</title>"), std::string::npos);
  EXPECT_NE(svg.find("<title>test, epoch 2: 0.3</title>"), std::string::npos);
}

TEST(SvgChart, writesPercentages) {
  const std::string svg = svgChart({"A", "epoch", AxisFormat::percent, {{"train", {{1, 0.81}, {2, 0.89}}}}});
  EXPECT_NE(svg.find(">80 %</text>"), std::string::npos);
  EXPECT_NE(svg.find(">90 %</text>"), std::string::npos);
  EXPECT_NE(svg.find("epoch 1: 81.00 %"), std::string::npos);
}

TEST(SvgChart, interruptsTheLineWhereNumbersAreNotFinite) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const std::string svg =
      svgChart({"A", "x", AxisFormat::number, {{"c", {{1, 1}, {2, 2}, {3, nan}, {4, infinity}, {5, 1}, {6, 2}}}}});
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  const std::size_t path = svg.find(" d=\"");
  const std::string data = svg.substr(path, svg.find("/>", path) - path);
  EXPECT_EQ(std::count(data.begin(), data.end(), 'M'), 2) << data;
}

TEST(SvgChart, saysThatThereIsNothing) {
  EXPECT_NE(svgChart({"A", "x", AxisFormat::number, {}}).find("no data"), std::string::npos);
  EXPECT_NE(svgChart({"A", "x", AxisFormat::number, {{"c", {{1, std::nan("")}}}}}).find("no data"), std::string::npos);
}

TEST(SvgChart, leavesMarkersOutWhereTheyWouldHideTheLine) {
  LineChart chart{"A", "step", AxisFormat::number, {{"c", {}}}};
  for (int i = 0; i < 1000; ++i) chart.curves[0].points.push_back({static_cast<double>(i), std::sin(i * 0.1)});
  EXPECT_EQ(svgChart(chart).find("<circle"), std::string::npos);
}

TEST(SvgChart, escapes) {
  EXPECT_EQ(escapeHtml("<a href=\"x\">&'\x01"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(svgChart({"<b>", "<b>", AxisFormat::number, {{"<b>", {{1, 1}}}}}).find("<b>"), std::string::npos);
}

}  // namespace
}  // namespace metalloid::training
