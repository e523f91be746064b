#include "training/svg_chart.hpp"

#include "core/format.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace metalloid::training {
namespace {

// The drawing area in user units; the page scales the whole.
constexpr double kWidth = 560, kHeight = 320;
constexpr double kLeft = 58, kRight = 14, kTop = 50, kBottom = 44;
constexpr double kCharacterWidth = 7.0;  // of the 13-unit font, for the legend's layout only
constexpr std::size_t kColours = 6;
constexpr std::size_t kMostMarkers = 60;  // markers on more points hide the line

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

bool isFinite(const Curve::Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

std::string tickText(double value, double step, AxisFormat format) {
  const double scale = format == AxisFormat::percent ? 100 : 1;
  const double shown = std::abs(value) < step / 2 ? 0 : value * scale;  // no "-0"
  const double shownStep = step * scale;
  if (shownStep < 1e-4 || std::abs(shown) >= 1e6) return fmt::format("{:.3g}", shown);
  // 1e-9: log10 of a power of ten may come out just below a whole number.
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(shownStep) + 1e-9)));
  return fmt::format("{:.{}f}{}", shown, decimals, format == AxisFormat::percent ? " %" : "");
}

std::string valueText(double value, AxisFormat format) {
  return format == AxisFormat::percent ? fmt::format("{:.2f} %", 100 * value) : fmt::format("{:.4g}", value);
}

class ChartDrawing {
 public:
  explicit ChartDrawing(const LineChart& chart) : chart_(chart) {
    Range x, y;
    for (const Curve& curve : chart.curves) {
      for (const Curve::Point& point : curve.points) {
        if (!isFinite(point)) continue;
        x.include(point.x);
        y.include(point.y);
        wholeX_ = wholeX_ && point.x == std::floor(point.x);
      }
    }
    empty_ = x.empty();
    if (empty_) return;
    // The horizontal axis ends with the data; the vertical one at marks, so that lines do not touch the border.
    xTicks_ = axisTicks(x.low, x.high, 10, wholeX_);
    yTicks_ = axisTicks(y.low, y.high, 6);
    x_ = x.low < x.high ? x : Range{xTicks_.front(), xTicks_.back()};
    y_ = {yTicks_.front(), yTicks_.back()};
  }

  std::string draw() {
    add("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, kHeight, escapeHtml(chart_.title));
    add("<text class=\"chart-title\" x=\"{}\" y=\"18\">{}</text>\n", kLeft, escapeHtml(chart_.title));
    if (empty_) {
      add("<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">no data</text>\n", kWidth / 2, kHeight / 2);
    } else {
      drawLegend();
      drawAxes();
      for (std::size_t i = 0; i < chart_.curves.size(); ++i) drawCurve(chart_.curves[i], i % kColours);
    }
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  template <class... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Values>(values)...);
  }

  double px(double x) const { return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight); }
  double py(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  void drawLegend() {
    double x = kLeft;
    for (std::size_t i = 0; i < chart_.curves.size(); ++i) {
      const std::string& name = chart_.curves[i].name;
      add("<line class=\"curve\" style=\"stroke:var(--curve-{})\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"35\" y2=\"35\"/>",
          i % kColours, x, x + 20);
      add("<text class=\"axis\" x=\"{:.0f}\" y=\"39\">{}</text>\n", x + 26, escapeHtml(name));
      x += 26 + kCharacterWidth * static_cast<double>(name.size()) + 18;
    }
  }

  void drawAxes() {
    const double yStep = yTicks_[1] - yTicks_[0];
    for (double tick : yTicks_) {
      add("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, kWidth - kRight, py(tick),
          py(tick));
      add("<text class=\"axis\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 8, py(tick) + 4,
          tickText(tick, yStep, chart_.yFormat));
    }
    const double xStep = xTicks_[1] - xTicks_[0];
    const double bottom = kHeight - kBottom;
    add("<line class=\"base\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", kLeft, kWidth - kRight, bottom, bottom);
    for (double tick : xTicks_) {
      const double slack = xStep * 1e-6;
      if (tick < x_.low - slack || tick > x_.high + slack) continue;
      add("<line class=\"base\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>", px(tick), px(tick), bottom,
          bottom + 4);
      add("<text class=\"axis\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", px(tick), bottom + 19,
          tickText(tick, xStep, AxisFormat::number));
    }
    add("<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (kLeft + kWidth - kRight) / 2,
        kHeight - 6, escapeHtml(chart_.xTitle));
  }

  void drawCurve(const Curve& curve, std::size_t colour) {
    std::string path;
    bool broken = true;
    std::size_t finite = 0;
    for (const Curve::Point& point : curve.points) {
      if (!isFinite(point)) {
        broken = true;
        continue;
      }
      fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", broken ? 'M' : 'L', px(point.x), py(point.y));
      broken = false;
      ++finite;
    }
    add("<path class=\"curve\" style=\"stroke:var(--curve-{})\" d=\"{}\"/>\n", colour, path);
    if (finite > kMostMarkers) return;
    for (const Curve::Point& point : curve.points) {
      if (!isFinite(point)) continue;
      add("<circle style=\"fill:var(--curve-{})\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}, {} {:.6g}: "
          "{}</title>"
          "</circle>\n",
          colour, px(point.x), py(point.y), escapeHtml(curve.name), escapeHtml(chart_.xTitle), point.x,
          valueText(point.y, chart_.yFormat));
    }
  }

  const LineChart& chart_;
  bool empty_ = true;
  bool wholeX_ = true;
  Range x_, y_;
  std::vector<double> xTicks_, yTicks_;
  std::string out_;
};

}  // namespace

std::vector<double> axisTicks(double low, double high, int count, bool wholeNumbers) {
  if (!(low < high)) {  // one value: some room around it
    const double room = wholeNumbers ? 1 : std::max(std::abs(low) * 0.1, 1e-3);
    low -= room;
    high += room;
  }
  const double rough = std::max((high - low) / std::max(count - 1, 1), std::numeric_limits<double>::min());
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  if (wholeNumbers) step = std::max(step, 1.0);
  const double first = std::floor(low / step + 1e-9);
  const double last = std::max(std::ceil(high / step - 1e-9), first + 1);
  std::vector<double> ticks;
  // Beyond 2^53 steps from zero neighbours are equal numbers; the ends are all that can be drawn.
  if (!(last - first <= 4.0 * count + 4) || first + 1 == first) return {low, high};
  for (double tick = first; tick <= last; ++tick) ticks.push_back(tick * step);
  return ticks;
}

std::string svgChart(const LineChart& chart) { return ChartDrawing(chart).draw(); }

std::string escapeHtml(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') result += c;
    }
  }
  return result;
}

}  // namespace metalloid::training
