#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace metalloid::training {

/// One line of a chart.
struct Curve {
  struct Point {
    double x = 0;
    double y = 0;
  };
  std::string name;
  std::vector<Point> points;  ///< By ascending x. A point that is not finite interrupts the line.
};

/// How the values of an axis are written.
enum class AxisFormat {
  number,
  percent,  ///< 0.25 is "25 %".
};

/// A line chart.
struct LineChart {
  std::string title;
  std::string xTitle;
  AxisFormat yFormat = AxisFormat::number;
  std::vector<Curve> curves;
};

/// Values for the marks of an axis: 1, 2 or 5 times a power of ten apart, the first at or below `low`, the last at or
/// above `high`, about `count` of them. `wholeNumbers` rules out steps below 1.
std::vector<double> axisTicks(double low, double high, int count, bool wholeNumbers = false);

/// The chart as an SVG element with axes, grid, legend and tooltips. Colours come from the CSS classes and variables of
/// the page: `.grid`, `.axis`, `.curve`, and `--curve-0` to `--curve-5`.
std::string svgChart(const LineChart& chart);

/// Text for HTML and SVG, with & < > " ' replaced and control characters dropped.
std::string escapeHtml(std::string_view text);

}  // namespace metalloid::training
