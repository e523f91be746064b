#include "graph/plan_archive.hpp"

#include "core/archive_fields.hpp"
#include "core/format.hpp"
#include "graph/fusion.hpp"

#include <metalloid/error.hpp>

#include <string>
#include <utility>

namespace metalloid::detail {
namespace {

constexpr std::string_view kClassName = "NNGraphPlan";

[[noreturn]] void refusePlan(std::string_view setting, std::string_view why) {
  refuseSetting(kClassName, setting, why);
}

// Each function names the settings of its part once, for writing and for reading.

/// Elements are read until there are as many as the archive says, so that no number alone takes memory.
template <class T, class Visit>
void visitList(SettingsVisitor& visitor, std::string_view name, std::vector<T>& list, Visit visitOne) {
  std::uint64_t count = list.size();
  visitor.visit(name, count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i == list.size()) list.emplace_back();
    visitOne(visitor, list[i]);
  }
}

void visitIndices(SettingsVisitor& visitor, std::string_view name, std::vector<std::size_t>& list) {
  visitList(visitor, name, list, [](SettingsVisitor& v, std::size_t& index) { v.visit("index", index); });
}
void visitTexts(SettingsVisitor& visitor, std::string_view name, std::vector<std::string>& list) {
  visitList(visitor, name, list, [](SettingsVisitor& v, std::string& text) { v.visit("text", text); });
}

void visitIndex(SettingsVisitor& visitor, std::string_view name, std::optional<std::size_t>& index) {
  std::uint64_t value = index.value_or(all);
  visitor.visit(name, value);
  index = value == all ? std::nullopt : std::optional<std::size_t>(value);
}

void visitHandle(SettingsVisitor& visitor, std::shared_ptr<metalloid::Handle>& handle) {
  bool isThere = handle != nullptr;
  std::string label = isThere ? handle->label() : std::string();
  visitor.visit("hasHandle", isThere);
  visitor.visit("handle", label);
  if (isThere && !handle) handle = handleOf(std::move(label));
}

void visitImage(SettingsVisitor& visitor, PlannedImage& image) {
  visitor.visit("name", image.name);
  visitHandle(visitor, image.properties.handle);
  visitor.visit("format", image.properties.format);
  if (image.properties.format > ImageFeatureChannelFormat::float32) refusePlan("format", "there is no such storage.");
  bool isTemporary = image.properties.allocator == TemporaryImage::defaultAllocator();
  visitor.visit("isTemporary", isTemporary);
  if (!isTemporary) image.properties.allocator = Image::defaultAllocator();
  visitor.visit("isExported", image.properties.isExported);
  visitor.visit("isSynchronized", image.properties.isSynchronized);
  visitor.visit("isInput", image.isInput);
}

void visitState(SettingsVisitor& visitor, PlannedState& state) {
  visitor.visit("name", state.name);
  visitHandle(visitor, state.properties.handle);
  visitor.visit("isExported", state.properties.isExported);
  visitor.visit("isSynchronized", state.properties.isSynchronized);
  visitor.visit("isInput", state.isInput);
}

void visitStep(SettingsVisitor& visitor, PlannedStep& step) {
  visitor.visit("class", step.className);
  visitor.visit("label", step.label);
  visitor.visit("isGradient", step.isGradient);
  visitIndices(visitor, "sources", step.sources);
  visitIndices(visitor, "sourceStates", step.sourceStates);
  visitor.visit("result", step.result);
  visitIndex(visitor, "state", step.state);
  visitor.visit("isInPlace", step.isInPlace);
  visitor.visit("trainingStyle", step.trainingStyle);
  if (step.trainingStyle > NNTrainingStyle::UpdateDeviceGPU) refusePlan("trainingStyle", "there is no such style.");
  visitTexts(visitor, "fused", step.fused);
}

void visitPlan(SettingsVisitor& visitor, Plan& plan, std::vector<GraphResult>& results) {
  visitList(visitor, "images", plan.images, visitImage);
  visitList(visitor, "states", plan.states, visitState);
  visitList(visitor, "steps", plan.steps, visitStep);
  visitList(visitor, "results", results, [](SettingsVisitor& v, GraphResult& result) {
    if (!result.node) result.node = makeRef<GraphNode>(GraphNode::Kind::image);
    visitHandle(v, result.node->image.handle);
    v.visit("isNeeded", result.isNeeded);
  });
  visitList(visitor, "resultImages", plan.results,
            [](SettingsVisitor& v, std::optional<std::size_t>& image) { visitIndex(v, "image", image); });
  visitTexts(visitor, "notes", plan.notes);
}

/// Whether images and states exist when steps read them, and have one producer each.
class Check {
 public:
  explicit Check(const Plan& plan) : plan_(plan), images_(plan.images.size()), states_(plan.states.size()) {
    for (std::size_t i = 0; i < images_.size(); ++i) images_[i] = plan.images[i].isInput;
    for (std::size_t i = 0; i < states_.size(); ++i) states_[i] = plan.states[i].isInput;
  }

  void run(const std::vector<GraphResult>& results) {
    if (plan_.steps.empty()) refusePlan("steps", "there is none.");
    for (const PlannedStep& step : plan_.steps) {
      if (step.sources.empty()) refusePlan("sources", fmt::format("{} has none.", step.name));
      for (const std::size_t image : step.sources) requireMade(images_, image, step.name);
      for (const std::size_t state : step.sourceStates) requireMade(states_, state, step.name);
      make(images_, step.result, step.name);
      if (step.state) make(states_, *step.state, step.name);
    }
    if (results.empty() || results.size() != plan_.results.size()) refusePlan("results", "their numbers differ.");
    for (std::size_t i = 0; i < results.size(); ++i) {
      const auto& image = plan_.results[i];
      if (image.has_value() != results[i].isNeeded) refusePlan("results", "a needed one is missing.");
      if (image && plan_.images.at(requireMade(images_, *image, "the graph")).isInput)
        refusePlan("results", "one is an input.");
    }
  }

 private:
  using Made = std::vector<char>;

  static std::size_t requireMade(const Made& made, std::size_t index, std::string_view reader) {
    if (index >= made.size() || !made[index])
      refusePlan("plan", fmt::format("{} reads what nothing makes before it.", reader));
    return index;
  }
  static void make(Made& made, std::size_t index, std::string_view producer) {
    if (index >= made.size() || made[index]) refusePlan("plan", fmt::format("{} makes what is there.", producer));
    made[index] = true;
  }

  const Plan& plan_;
  Made images_, states_;
};

}  // namespace

void archivePlan(Archiver& archiver, const Plan& plan, const std::vector<GraphResult>& results) {
  for (const PlannedImage& image : plan.images) {
    const auto& allocator = image.properties.allocator;
    if (allocator == TemporaryImage::defaultAllocator() || allocator == Image::defaultAllocator()) continue;
    throw Error(ErrorCode::unsupported,
                fmt::format("The allocator of {} is the caller's own, which no archive can hold.", image.name));
  }
  SettingsWriter writer(archiver, kClassName);
  // The visitor only reads them.
  visitPlan(writer, const_cast<Plan&>(plan), const_cast<std::vector<GraphResult>&>(results));
  writer.finish();
}

Plan readPlan(Unarchiver& coder, std::vector<GraphResult>& results) {
  Plan plan;
  SettingsReader reader(coder, kClassName);
  visitPlan(reader, plan, results);
  reader.finish();
  for (PlannedStep& step : plan.steps) step.name = nameOf(step.className, step.label);
  Check(plan).run(results);

  for (std::size_t i = 0; i < plan.images.size(); ++i) {
    if (plan.images[i].isInput) plan.sourceImages.push_back(i);
  }
  for (std::size_t i = 0; i < plan.states.size(); ++i) {
    if (plan.states[i].isInput) plan.sourceStates.push_back(i);
  }
  for (const auto& image : plan.results) {
    if (image) plan.images[*image].isResult = true;
  }
  plan.link();
  for (PlannedStep& step : plan.steps) {
    if (!std::exchange(step.isInPlace, false)) continue;
    if (const std::string why = whatForbidsWritingInPlace(plan, step); !why.empty()) refusePlan("isInPlace", why);
    writeInPlace(plan, step);
  }
  plan.finish();
  return plan;
}

}  // namespace metalloid::detail
