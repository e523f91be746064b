#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "graph/graph.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>
#include <metalloid/nn_graph.hpp>

#include <utility>

namespace metalloid {

using detail::Graph;

namespace {

/// In the place of a handle that a node has not: arrays keep their indices.
class NoHandle final : public Handle {
 public:
  std::string label() const override { return {}; }
};

std::shared_ptr<Handle> orPlaceholder(const std::shared_ptr<Handle>& handle) {
  static const std::shared_ptr<Handle> placeholder = std::make_shared<NoHandle>();
  return handle ? handle : placeholder;
}

std::vector<Graph::Result> resultsOf(const NNGraph::SeveralArguments& arguments) {
  if (arguments.resultImages.empty()) throw Error(ErrorCode::invalidArgument, "A graph needs a result image node.");
  if (!arguments.resultsAreNeeded.empty() && arguments.resultsAreNeeded.size() != arguments.resultImages.size()) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("There are {} result images, but {} flags say whether they are needed.",
                            arguments.resultImages.size(), arguments.resultsAreNeeded.size()));
  }
  std::vector<Graph::Result> results;
  for (std::size_t i = 0; i < arguments.resultImages.size(); ++i) {
    results.push_back({detail::vertex(arguments.resultImages[i], "result image node"),
                       arguments.resultsAreNeeded.empty() || arguments.resultsAreNeeded[i]});
  }
  return results;
}

}  // namespace

NNGraph::NNGraph(const Device& device, const Arguments& arguments)
    : NNGraph(device, SeveralArguments{.resultImages = {arguments.resultImage},
                                       .resultsAreNeeded = {arguments.resultImageIsNeeded},
                                       .allowFusion = arguments.allowFusion}) {}

NNGraph::NNGraph(const Device& device, const SeveralArguments& arguments) : Kernel(device, "NNGraph") {
  try {
    graph_ = std::make_shared<Graph>(device, resultsOf(arguments), arguments.allowFusion, false);
  } catch (const Error& error) {
    throw error.during("making an NNGraph");
  }
}

NNGraph::NNGraph(Unarchiver& coder, const Device& device) : Kernel(device, "NNGraph") {
  decode(coder);
  graph_ = std::make_shared<Graph>(coder, device);
}

void NNGraph::encode(Archiver& archiver) const {
  Kernel::encode(archiver);
  graph_->archive(archiver);
}

std::vector<std::shared_ptr<Handle>> NNGraph::sourceImageHandles() const {
  std::vector<std::shared_ptr<Handle>> handles;
  for (const std::size_t image : graph_->plan().sourceImages)
    handles.push_back(orPlaceholder(graph_->plan().images[image].properties.handle));
  return handles;
}

std::vector<std::shared_ptr<Handle>> NNGraph::sourceStateHandles() const {
  std::vector<std::shared_ptr<Handle>> handles;
  for (const std::size_t state : graph_->plan().sourceStates)
    handles.push_back(orPlaceholder(graph_->plan().states[state].properties.handle));
  return handles;
}

std::vector<std::shared_ptr<Handle>> NNGraph::intermediateImageHandles() const {
  std::vector<std::shared_ptr<Handle>> handles;
  const auto& plan = graph_->plan();
  for (const std::size_t image : plan.intermediateImages)
    handles.push_back(orPlaceholder(plan.images[image].properties.handle));
  for (std::size_t i = 1; i < plan.results.size(); ++i) {
    if (plan.results[i]) handles.push_back(orPlaceholder(plan.images[*plan.results[i]].properties.handle));
  }
  return handles;
}

std::vector<std::shared_ptr<Handle>> NNGraph::resultStateHandles() const {
  std::vector<std::shared_ptr<Handle>> handles;
  for (const std::size_t state : graph_->plan().destinationStates)
    handles.push_back(orPlaceholder(graph_->plan().states[state].properties.handle));
  return handles;
}

std::shared_ptr<Handle> NNGraph::resultHandle() const {
  const auto& result = graph_->plan().results.front();
  return result ? graph_->plan().images[*result].properties.handle : graph_->results().front().node->image.handle;
}
bool NNGraph::resultImageIsNeeded() const { return graph_->results().front().isNeeded; }

namespace {

/// Encodes, with the graph's name in what fails.
void run(Graph& plan, CommandBuffer& commandBuffer, const NNGraph& graph, Graph::Encode& call) {
  try {
    plan.encode(commandBuffer, graph, call);
  } catch (const Error& error) {
    throw error.during(fmt::format("encoding {}", graph.name()));
  }
}

}  // namespace

Image NNGraph::encode(CommandBuffer& commandBuffer, const EncodeArguments& arguments) {
  std::vector<ImageBatch> images;
  std::vector<StateBatch> states;
  for (const Image& image : arguments.sourceImages) images.push_back({image});
  for (const State& state : arguments.sourceStates) states.push_back({state});
  Graph::Encode call{.sourceImages = images,
                     .sourceStates = states,
                     .isBatch = false,
                     .result = {},
                     .intermediateImages = {},
                     .destinationStates = {}};
  run(*graph_, commandBuffer, *this, call);
  if (arguments.intermediateImages) {
    for (const auto& batch : call.intermediateImages) arguments.intermediateImages->push_back(batch.front());
  }
  if (arguments.destinationStates) {
    for (const auto& batch : call.destinationStates) arguments.destinationStates->push_back(batch.front());
  }
  return call.result.empty() ? Image() : call.result.front();
}

ImageBatch NNGraph::encodeBatch(CommandBuffer& commandBuffer, const EncodeBatchArguments& arguments) {
  Graph::Encode call{.sourceImages = arguments.sourceImages,
                     .sourceStates = arguments.sourceStates,
                     .result = {},
                     .intermediateImages = {},
                     .destinationStates = {}};
  run(*graph_, commandBuffer, *this, call);
  if (arguments.intermediateImages) {
    for (auto& batch : call.intermediateImages) arguments.intermediateImages->push_back(std::move(batch));
  }
  if (arguments.destinationStates) {
    for (auto& batch : call.destinationStates) arguments.destinationStates->push_back(std::move(batch));
  }
  return std::move(call.result);
}

Image NNGraph::executeAsync(const ExecuteArguments& arguments) {
  if (arguments.sourceImages.empty())
    throw Error(ErrorCode::invalidArgument, fmt::format("executeAsync of {} needs a source image.", name()));
  if (!resultImageIsNeeded())
    throw Error(ErrorCode::invalidArgument,
                fmt::format("executeAsync of {} needs a graph whose result is needed.", name()));
  CommandBuffer commandBuffer = graph_->queue().makeCommandBuffer();
  const Image result = encode(commandBuffer, {.sourceImages = arguments.sourceImages});
  commandBuffer.addCompletedHandler([handler = arguments.completionHandler, result](const CommandBuffer& completed) {
    if (handler) handler(result, completed.error());
  });
  commandBuffer.commit();
  return result;
}

std::size_t NNGraph::readCountForSourceImage(std::size_t index) const {
  if (index >= graph_->plan().sourceImages.size())
    throw Error(ErrorCode::invalidArgument, fmt::format("{} has no source image {}.", name(), index));
  return 1;
}

std::size_t NNGraph::readCountForSourceState(std::size_t index) const {
  if (index >= graph_->plan().sourceStates.size())
    throw Error(ErrorCode::invalidArgument, fmt::format("{} has no source state {}.", name(), index));
  return 1;
}

void NNGraph::reloadFromDataSources() { graph_->reload(); }
NNGraph::Memory NNGraph::memory() const { return graph_->memory(); }
std::string NNGraph::planDescription() const { return graph_->describe(); }
NNGraphPlan NNGraph::plan() const { return graph_->planData(); }

NNGraph NNGraph::copy(const Device& device) const {
  NNGraph result = *this;
  if (!device || device == this->device()) return result;
  result.setDevice(device);
  result.graph_ = graph_->copy(device);
  return result;
}

void NNGraph::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("format", format);
  if (format > ImageFeatureChannelFormat::float32)
    detail::refuseSetting("NNGraph", "format", "there is no such storage.");
  visitor.visit("outputStateIsTemporary", outputStateIsTemporary);
}

}  // namespace metalloid
