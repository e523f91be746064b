#include "training/graph_drawing.hpp"

#include "core/format.hpp"
#include "training/graph_layout.hpp"
#include "training/svg_chart.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace metalloid::training {
namespace {

constexpr double kTitleHeight = 58;
constexpr double kBetweenPanels = 40;
constexpr double kNoteCharacter = 7;  // of the 12-unit font

constexpr const char* kStyle = R"(<style>
text { font-family: "DejaVu Sans", Verdana, sans-serif; font-size: 12px; fill: #1a1a1a; }
.title { font-size: 17px; font-weight: bold; }
.note { fill: #555; }
.name { font-weight: bold; }
.size { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
.box { stroke: #3b5b7a; fill: #e8f0f8; }
.backward { stroke: #8a4b2a; fill: #fbeee4; }
.pill { stroke: #666; fill: #f4f4f4; }
.arrow { fill: none; stroke: #3b5b7a; stroke-width: 1.3; }
.arrow.backward { stroke: #8a4b2a; }
.arrow.state { stroke: #888; stroke-dasharray: 5 4; }
.panel { fill: #fff; stroke: #ccc; }
</style>
)";

std::string sizeOf(const ImageDescriptor& image) {
  return fmt::format("{}x{}x{}", image.height, image.width, image.featureChannels);
}

/// CNNPoolingMaxGradientNode -> PoolingMaxGradient
std::string shortClass(std::string name) {
  if (name.ends_with("Node")) name.resize(name.size() - 4);
  if (name.starts_with("CNN")) return name.substr(3);
  return name.starts_with("NN") ? name.substr(2) : name;
}

/// CNNNeuronNode "relu1" -> relu1
std::string shortName(const std::string& name) {
  const std::size_t quote = name.find('"');
  return quote == std::string::npos || name.size() < quote + 2 ? shortClass(name)
                                                               : name.substr(quote + 1, name.size() - quote - 2);
}

/// Boxes and arrows of a plan.
class Diagram {
 public:
  explicit Diagram(const NNGraphPlan& plan) : plan_(plan) {}

  GraphLayout make() {
    findBackward();
    findRows();
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) addStep(i);
    addEnds();
    addArrows();
    layout_.place();
    return std::move(layout_);
  }

 private:
  void findBackward() {
    isBackward_.resize(plan_.steps.size());
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const auto& step = plan_.steps[i];
      // Additions of gradients are forward filters by their class.
      isBackward_[i] = step.isGradient || std::ranges::any_of(step.sources, [&](std::size_t source) {
                         const auto producer = plan_.images[source].producer;
                         return producer && isBackward_[*producer];
                       });
    }
  }

  /// Forward: the longest path from the inputs. Backward: the row of what it is the gradient of; additions come one row
  /// below what reads them.
  void findRows() {
    rows_.assign(plan_.steps.size(), 1);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      if (isBackward_[i]) continue;
      for (const std::size_t source : plan_.steps[i].sources) {
        if (const auto producer = plan_.images[source].producer) rows_[i] = std::max(rows_[i], rows_[*producer] + 1);
      }
    }
    for (std::size_t i = plan_.steps.size(); i-- > 0;) {
      if (!isBackward_[i]) continue;
      const auto& step = plan_.steps[i];
      std::optional<std::size_t> row;
      for (const std::size_t state : step.sourceStates) {
        const auto producer = plan_.states[state].producer;
        if (producer && !isBackward_[*producer]) row = rows_[*producer];
      }
      if (!row) {
        for (const std::size_t reader : plan_.images[step.result].readers)
          row = std::max(row.value_or(0), rows_[reader]);
        row = row.value_or(0) + 1;
      }
      rows_[i] = *row;
    }
  }

  void addStep(std::size_t index) {
    const auto& step = plan_.steps[index];
    LayoutBox box;
    box.lines.push_back(step.label.empty() ? shortClass(step.className) : step.label);
    if (!step.label.empty()) box.lines.push_back(shortClass(step.className));
    for (const auto& fused : step.fused) box.lines.push_back("+ " + shortName(fused));
    if (step.isInPlace) box.lines.emplace_back("in place");
    if (step.trainingStyle == NNTrainingStyle::UpdateDeviceGPU && step.isGradient)
      box.lines.emplace_back("updates its parameters");
    if (step.trainingStyle == NNTrainingStyle::UpdateDeviceCPU && step.isGradient)
      box.lines.emplace_back("parameters updated by the host");
    box.isBackward = isBackward_[index];
    box.row = rows_[index];
    layout_.boxes.push_back(std::move(box));
  }

  std::size_t addPill(std::string name, std::size_t row, bool isBackward) {
    LayoutBox box;
    box.lines = {std::move(name)};
    box.isPill = true;
    box.isBackward = isBackward;
    box.row = row;
    layout_.boxes.push_back(std::move(box));
    return layout_.boxes.size() - 1;
  }

  std::size_t rowAbove(const std::vector<std::size_t>& readers) const {
    std::size_t row = plan_.steps.size();
    for (const std::size_t reader : readers) row = std::min(row, rows_[reader]);
    return row - 1;
  }

  /// What comes in and what goes out.
  void addEnds() {
    for (std::size_t i = 0; i < plan_.images.size(); ++i) {
      const auto& image = plan_.images[i];
      if (image.isInput && !image.readers.empty())
        inputs_[i] = addPill(shortName(image.name), rowAbove(image.readers), isBackward_[image.readers.front()]);
      if ((image.isResult || image.isExported) && image.producer) {
        const bool isBackward = isBackward_[*image.producer];
        const std::size_t row = rows_[*image.producer];
        const std::size_t pill =
            addPill(image.isResult ? "result" : "exported", isBackward ? row - 1 : row + 1, isBackward);
        addArrow(*image.producer, pill, i);
      }
    }
    for (std::size_t i = 0; i < plan_.states.size(); ++i) {
      const auto& state = plan_.states[i];
      if (state.isInput && !state.readers.empty())
        inputStates_[i] = addPill(shortName(state.name), rowAbove(state.readers), isBackward_[state.readers.front()]);
    }
  }

  /// An image; images of one box have one port each, states another.
  void addArrow(std::size_t from, std::size_t to, std::size_t image) {
    layout_.arrows.push_back({.from = from,
                              .to = to,
                              .port = 2 * image,
                              .label = labelled_.insert(image).second ? sizeOf(plan_.images[image].descriptor) : "",
                              .isDashed = false,
                              .isBackward = isGradient(image),
                              .path = {}});
  }

  /// Whether the image is a gradient: also what a loss makes.
  bool isGradient(std::size_t image) const {
    const auto producer = plan_.images[image].producer;
    return producer && (isBackward_[*producer] || plan_.steps[*producer].className == "CNNLossNode");
  }

  void addArrows() {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const auto& step = plan_.steps[i];
      std::set<std::size_t> seen;
      for (const std::size_t source : step.sources) {
        if (!seen.insert(source).second) continue;
        const auto& image = plan_.images[source];
        if (image.isInput) {
          addArrow(inputs_.at(source), i, source);
        } else if (image.producer) {
          addArrow(*image.producer, i, source);
        }
      }
      for (const std::size_t source : step.sourceStates) {
        const auto& state = plan_.states[source];
        if (!state.isInput && !state.producer) continue;
        layout_.arrows.push_back({.from = state.isInput ? inputStates_.at(source) : *state.producer,
                                  .to = i,
                                  .port = 2 * source + 1,
                                  .label = {},
                                  .isDashed = true,
                                  .isBackward = false,
                                  .path = {}});
      }
    }
  }

  const NNGraphPlan& plan_;
  GraphLayout layout_;
  std::vector<char> isBackward_;
  std::vector<std::size_t> rows_;
  std::map<std::size_t, std::size_t> inputs_, inputStates_;  // boxes
  std::set<std::size_t> labelled_;                           // images
};

class Svg {
 public:
  std::string draw(const std::vector<DrawnGraph>& graphs) {
    double x = 0, height = 0;
    for (const DrawnGraph& graph : graphs) {
      const GraphLayout layout = Diagram(graph.plan).make();
      const std::string note = fmt::format("batch of {}; temporary images: {} used, {} without reuse, {} largest alive",
                                           graph.batchSize, sizeText(graph.memory.used),
                                           sizeText(graph.memory.withoutReuse), sizeText(graph.memory.largestAlive));
      const double width = std::max(layout.width, static_cast<double>(note.size()) * kNoteCharacter + 40);
      panels_ += fmt::format("<g transform=\"translate({:.1f} 0)\">\n", x);
      panels_ += fmt::format("<rect class=\"panel\" x=\"0.5\" y=\"0.5\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n", width,
                             kTitleHeight + layout.height);
      text("title", 20, 28, graph.title);
      text("note", 20, 48, note);
      panels_ += fmt::format("<g transform=\"translate({:.1f} {})\">\n", (width - layout.width) / 2, kTitleHeight);
      for (const LayoutArrow& arrow : layout.arrows) line(arrow);
      for (const LayoutBox& box : layout.boxes) draw(box);
      for (const LayoutArrow& arrow : layout.arrows) label(arrow);
      panels_ += "</g>\n</g>\n";
      x += width + kBetweenPanels;
      height = std::max(height, kTitleHeight + layout.height);
    }
    const double width = std::max(x - kBetweenPanels, 0.0) + 1;
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
               "viewBox=\"0 0 {0:.0f} {1:.0f}\">\n",
               width, height + 1) +
           kStyle +
           "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
           "orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#444\"/></marker></defs>\n" +
           "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" + panels_ + "</svg>\n";
  }

 private:
  void text(const char* kind, double x, double y, const std::string& words, const char* anchor = "start") {
    panels_ += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", kind, x, y,
                           anchor, escapeHtml(words));
  }

  void line(const LayoutArrow& arrow) {
    std::string path;
    for (const auto& point : arrow.path)
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", point.x, point.y);
    const char* const kind = arrow.isDashed ? " state" : arrow.isBackward ? " backward" : "";
    panels_ += fmt::format("<path class=\"arrow{}\" d=\"{}\" marker-end=\"url(#head)\"/>\n", kind, path);
  }

  void label(const LayoutArrow& arrow) {
    if (arrow.label.empty()) return;
    const auto& [x, y] = arrow.path.front();
    text("size", x + 5, arrow.path[1].y < y ? y - 7 : y + 15, arrow.label);
  }

  void draw(const LayoutBox& box) {
    panels_ +=
        fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{:.1f}\"/>\n",
                    box.isPill       ? "pill"
                    : box.isBackward ? "backward"
                                     : "box",
                    box.x, box.y, box.width, box.height, box.isPill ? box.height / 2 : 4);
    const double lineHeight = 17;
    double y = box.y + (box.height - lineHeight * static_cast<double>(box.lines.size())) / 2 + 13;
    for (std::size_t i = 0; i < box.lines.size(); ++i, y += lineHeight)
      text(i == 0 ? "name" : "note", box.x + box.width / 2, y, box.lines[i], "middle");
  }

  std::string panels_;
};

}  // namespace

std::string drawGraphs(const std::vector<DrawnGraph>& graphs) { return Svg().draw(graphs); }

std::string sizeText(std::size_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  const double value = static_cast<double>(bytes);
  return value < 1e6 ? fmt::format("{:.1f} kB", value / 1e3) : fmt::format("{:.1f} MB", value / 1e6);
}

}  // namespace metalloid::training
