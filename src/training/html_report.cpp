#include "training/html_report.hpp"

#include "core/format.hpp"
#include "formats/atomic_file.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string_view>

namespace metalloid::training {
namespace {

constexpr std::size_t kMostClassesInTable = 40;
constexpr std::size_t kMistakesListed = 5;
constexpr std::size_t kRowHeadPixels = 104, kCellPixels = 60;
// A share of mistakes this high, or the highest there is if that is higher, gets the full colour.
constexpr double kFullMistakeShare = 0.1;

// The curves' colours keep their distance for the common kinds of colour blindness.
constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b1f24; --faint: #5c6773; --line: #dfe3e8; --right: 29 95 184; --wrong: 196 69 20;
  --on-colour: #ffffff; --bar: #c9dbf3;
  --curve-0: #1d5fb8; --curve-1: #d1560e; --curve-2: #0a8a67; --curve-3: #a3428f; --curve-4: #8a6d00; --curve-5: #4a5560; }
@media (prefers-color-scheme: dark) { :root {
  --page: #101317; --card: #191d23; --text: #e4e8ee; --faint: #98a3b0; --line: #2e353e; --right: 52 120 214; --wrong: 214 92 42;
  --bar: #27476f;
  --curve-0: #62a8f5; --curve-1: #f59a57; --curve-2: #3fcda2; --curve-3: #e08bd0; --curve-4: #dcc04a; --curve-5: #a8b3bf; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; }
h2 { margin: 0 0 12px; font-size: 17px; }
p { margin: 4px 0 0; color: var(--faint); }
section { margin-top: 16px; padding: 18px 20px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 16px; }
.flow { columns: 2 440px; column-gap: 16px; margin-top: 16px; }
.flow section { break-inside: avoid; margin: 0 0 16px; }
dl.results { display: flex; flex-wrap: wrap; gap: 12px 44px; margin: 20px 0 4px; }
dl.results dt { color: var(--faint); font-size: 13px; }
dl.results dd { margin: 0; font-size: 26px; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
svg .axis { fill: var(--faint); font-variant-numeric: tabular-nums; }
svg .chart-title { fill: var(--text); font-size: 16px; font-weight: 600; }
svg .grid { stroke: var(--line); }
svg .base { stroke: var(--faint); }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; }
table.rows th { width: 45%; padding: 3px 12px 3px 0; color: var(--faint); font-weight: 400; vertical-align: top; }
table.rows td { padding: 3px 0; overflow-wrap: anywhere; }
table.rows tr + tr > * { border-top: 1px solid var(--line); }
table.matrix { font-size: 13px; table-layout: fixed; }
table.matrix thead th { padding: 4px 3px; text-align: center; vertical-align: bottom; color: var(--faint); font-weight: 400; }
table.matrix thead th:first-child { width: 104px; }
table.matrix tbody th { padding-right: 10px; white-space: nowrap; }
table.matrix td { padding: 7px 3px; text-align: center; border: 2px solid var(--card); border-radius: 6px; }
table.matrix td.right { background: rgb(var(--right) / var(--a)); }
table.matrix td.wrong { background: rgb(var(--wrong) / var(--a)); }
table.matrix td.strong { color: var(--on-colour); }
table.matrix td.zero { color: var(--faint); opacity: .55; }
table.scores th, table.scores td { padding: 4px 10px 4px 0; }
table.scores thead th { color: var(--faint); font-weight: 400; font-size: 13px; }
table.scores tbody tr > * { border-top: 1px solid var(--line); }
table.scores td.bar { width: 25%; background: linear-gradient(var(--bar), var(--bar)) 0 50% / var(--w) 100% no-repeat content-box; padding: 4px 10px 4px 0; text-indent: 6px; }
ol { margin: 0; padding-left: 22px; }
.key { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 10px; border-radius: 3px; vertical-align: -1px; }
@media print { body { background: none; } section { break-inside: avoid; } * { print-color-adjust: exact; } }
)css";

struct Mistake {
  std::size_t actual, predicted;
  std::uint64_t count;
};

std::uint64_t rowTotal(const ConfusionMatrix& matrix, std::size_t actual) {
  std::uint64_t total = 0;
  for (std::size_t predicted = 0; predicted < matrix.classes(); ++predicted) total += matrix.count(actual, predicted);
  return total;
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<Mistake> mistakesByCount(const ConfusionMatrix& matrix) {
  std::vector<Mistake> mistakes;
  for (std::size_t actual = 0; actual < matrix.classes(); ++actual) {
    for (std::size_t predicted = 0; predicted < matrix.classes(); ++predicted) {
      const std::uint64_t count = matrix.count(actual, predicted);
      if (actual != predicted && count > 0) mistakes.push_back({actual, predicted, count});
    }
  }
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.count > b.count; });
  return mistakes;
}

class Page {
 public:
  explicit Page(const Report& report) : report_(report) {}

  std::string build() {
    add("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n"
        "</head>\n<body>\n<main>\n<h1>{}</h1>\n",
        escapeHtml(report_.title), kStyle, escapeHtml(report_.title));
    if (!report_.summary.empty()) add("<p>{}</p>\n", escapeHtml(report_.summary));
    addResults();
    addCharts();
    addConfusion();
    out_ += "<div class=\"flow\">\n";
    addScores();
    addMistakes();
    addRows("Settings", report_.settings);
    addRows("Timings", report_.timings);
    addRows("Device and versions", report_.environment);
    out_ += "</div>\n</main>\n</body>\n</html>\n";
    return std::move(out_);
  }

 private:
  template <class... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Values>(values)...);
  }

  std::string className(std::size_t index) const { return escapeHtml(report_.confusion.classNames[index]); }

  void addResults() {
    if (report_.results.empty()) return;
    out_ += "<dl class=\"results\">\n";
    for (const auto& [name, value] : report_.results) {
      add("<div><dt>{}</dt><dd>{}</dd></div>\n", escapeHtml(name), escapeHtml(value));
    }
    out_ += "</dl>\n";
  }

  void addCharts() {
    if (report_.charts.empty()) return;
    out_ += "<div class=\"charts\">\n";
    for (const LineChart& chart : report_.charts) add("<section>{}</section>\n", svgChart(chart));
    out_ += "</div>\n";
  }

  void addRows(std::string_view title, const ReportRows& rows) {
    if (rows.empty()) return;
    add("<section>\n<h2>{}</h2>\n<table class=\"rows\">\n", title);
    for (const auto& [name, value] : rows) {
      add("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escapeHtml(name), escapeHtml(value));
    }
    out_ += "</table>\n</section>\n";
  }

  void addConfusion() {
    const ConfusionMatrix& matrix = report_.confusion;
    if (matrix.classes() == 0 || matrix.classes() > kMostClassesInTable) return;
    double highest = kFullMistakeShare;
    for (const Mistake& mistake : mistakesByCount(matrix)) {
      highest = std::max(highest, share(mistake.count, rowTotal(matrix, mistake.actual)));
    }
    out_ +=
        "<section>\n<h2>Confusion matrix</h2>\n<p>Rows are the images' classes, columns the network's answers; the "
        "shade is "
        "the share of the row."
        "<span class=\"key\" style=\"background:rgb(var(--right))\"></span>right"
        "<span class=\"key\" style=\"background:rgb(var(--wrong))\"></span>";
    add("wrong (full colour at {:.0f} %)</p>\n<div class=\"scroll\"><table class=\"matrix\" style=\"min-width:{}px\">\n"
        "<thead><tr><th></th>",
        100 * highest, kRowHeadPixels + kCellPixels * matrix.classes());
    for (std::size_t i = 0; i < matrix.classes(); ++i) add("<th scope=\"col\">{}</th>", className(i));
    out_ += "</tr></thead>\n<tbody>\n";
    for (std::size_t actual = 0; actual < matrix.classes(); ++actual) {
      add("<tr><th scope=\"row\">{}</th>", className(actual));
      const std::uint64_t total = rowTotal(matrix, actual);
      for (std::size_t predicted = 0; predicted < matrix.classes(); ++predicted) {
        addCell(actual, predicted, total, highest);
      }
      out_ += "</tr>\n";
    }
    out_ += "</tbody>\n</table></div>\n</section>\n";
  }

  void addCell(std::size_t actual, std::size_t predicted, std::uint64_t total, double highestMistake) {
    const std::uint64_t count = report_.confusion.count(actual, predicted);
    if (count == 0) {
      out_ += "<td class=\"zero\">0</td>";
      return;
    }
    const bool right = actual == predicted;
    const double part = share(count, total);
    // The root lifts the many small shares of mistakes off the background.
    const double shade = right ? part : 0.9 * std::sqrt(part / highestMistake);
    add("<td class=\"{}{}\" style=\"--a:{:.2f}\" title=\"{} taken for {}: {} of {} ({:.1f} %)\">{}</td>",
        right ? "right" : "wrong", shade > 0.6 ? " strong" : "", shade, className(actual), className(predicted), count,
        total, 100 * part, count);
  }

  void addScores() {
    if (report_.confusion.classes() == 0) return;
    out_ +=
        "<section>\n<h2>Classes</h2>\n<table class=\"scores\">\n<thead><tr><th scope=\"col\">Class</th><th "
        "scope=\"col\">Precision</th>"
        "<th scope=\"col\">Recall</th><th scope=\"col\">F1</th><th scope=\"col\">Images</th></tr></thead>\n<tbody>\n";
    const auto scores = classScores(report_.confusion);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      add("<tr><th scope=\"row\">{}</th>", className(i));
      addBar(scores[i].precision);
      addBar(scores[i].recall);
      if (std::isnan(scores[i].f1)) {
        add("<td>–</td><td>{}</td></tr>\n", scores[i].images);
      } else {
        add("<td>{:.1f}</td><td>{}</td></tr>\n", 100 * scores[i].f1, scores[i].images);
      }
    }
    out_ += "</tbody>\n</table>\n</section>\n";
  }

  void addBar(double value) {
    if (std::isnan(value)) {
      out_ += "<td>–</td>";
    } else {
      add("<td class=\"bar\" style=\"--w:{:.1f}%\">{:.1f} %</td>", 100 * value, 100 * value);
    }
  }

  void addMistakes() {
    const auto mistakes = mistakesByCount(report_.confusion);
    if (mistakes.empty()) return;
    out_ += "<section>\n<h2>Most frequent mistakes</h2>\n<ol>\n";
    for (std::size_t i = 0; i < std::min(mistakes.size(), kMistakesListed); ++i) {
      const std::uint64_t total = rowTotal(report_.confusion, mistakes[i].actual);
      add("<li>{} taken for {}: {} of {} ({:.1f} %)</li>\n", className(mistakes[i].actual),
          className(mistakes[i].predicted), mistakes[i].count, total, 100 * share(mistakes[i].count, total));
    }
    out_ += "</ol>\n</section>\n";
  }

  const Report& report_;
  std::string out_;
};

void checkShape(const ConfusionMatrix& matrix) {
  if (matrix.counts.size() == matrix.classes() * matrix.classes()) return;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The confusion matrix has {} counts, but {} classes need {}.", matrix.counts.size(),
                          matrix.classes(), matrix.classes() * matrix.classes()));
}

}  // namespace

std::vector<ClassScores> classScores(const ConfusionMatrix& matrix) {
  checkShape(matrix);
  std::vector<ClassScores> scores(matrix.classes());
  for (std::size_t i = 0; i < matrix.classes(); ++i) {
    std::uint64_t predicted = 0;
    for (std::size_t actual = 0; actual < matrix.classes(); ++actual) predicted += matrix.count(actual, i);
    const std::uint64_t right = matrix.count(i, i);
    const std::uint64_t images = rowTotal(matrix, i);
    // F1 = 2 / (1/precision + 1/recall) = 2 right / (predicted + images)
    scores[i] = {share(right, predicted), share(right, images), share(2 * right, predicted + images), images};
  }
  return scores;
}

std::string htmlReport(const Report& report) {
  checkShape(report.confusion);
  return Page(report).build();
}

void writeHtmlReport(const std::filesystem::path& path, const Report& report) {
  const std::string page = htmlReport(report);
  formats::writeFileAtomically(path, "the report", [&page](formats::FileWriter& writer) { writer.write(page); });
}

}  // namespace metalloid::training
