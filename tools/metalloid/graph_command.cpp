#include "command.hpp"
#include "core/format.hpp"
#include "formats/atomic_file.hpp"
#include "training/graph_drawing.hpp"
#include "training/graph_model.hpp"
#include "training_arguments.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

using namespace metalloid;
using namespace metalloid::training;

namespace {

nlohmann::json shapeOf(const ImageDescriptor& image) {
  return {{"height", image.height}, {"width", image.width}, {"channels", image.featureChannels}};
}

nlohmann::json toJson(const DrawnGraph& graph) {
  nlohmann::json images = nlohmann::json::array();
  for (const auto& image : graph.plan.images) {
    nlohmann::json one{{"name", image.name},       {"shape", shapeOf(image.descriptor)}, {"input", image.isInput},
                       {"result", image.isResult}, {"exported", image.isExported},       {"readers", image.readers}};
    if (image.producer) one["producer"] = *image.producer;
    images.push_back(std::move(one));
  }
  nlohmann::json steps = nlohmann::json::array();
  for (const auto& step : graph.plan.steps) {
    nlohmann::json one{
        {"class", step.className},     {"label", step.label},         {"fused", step.fused},
        {"sources", step.sources},     {"result", step.result},       {"result_is_made", step.resultIsNeeded},
        {"states", step.sourceStates}, {"gradient", step.isGradient}, {"in_place", step.isInPlace}};
    if (step.resultState) one["result_state"] = *step.resultState;
    steps.push_back(std::move(one));
  }
  return {{"graph", graph.title},
          {"batch_size", graph.batchSize},
          {"images", images},
          {"steps", steps},
          {"temporary_bytes", graph.memory.used},
          {"temporary_bytes_without_reuse", graph.memory.withoutReuse},
          {"temporary_bytes_largest_alive", graph.memory.largestAlive}};
}

struct GraphCommand {
  NetworkChoice network;
  DeviceArguments device;
  std::size_t batchSize = 128;
  std::string svg;
  bool json = false;

  int run() const {
    TrainingOptions options;
    options.network = network.described();
    options.batchSize = batchSize;
    asUsage([&] { check(options); });
    const Device chosen = device.device();
    GraphModel model(chosen, options, batchSize);
    const BatchSlot slot(chosen, model.batchLayout(), batchSize);
    const Batch batch = slot.batch(batchSize);
    // An encode sizes everything; what is not committed computes nothing.
    CommandBuffer commands = chosen.makeCommandQueue().makeCommandBuffer();
    NNGraph& forward = model.inferenceGraph();
    forward.encodeBatch(commands, {.sourceImages = {batch.images}});
    NNGraph& training = model.trainingGraph();
    training.encodeBatch(commands, {.sourceImages = {batch.images}, .sourceStates = {batch.targets}});
    const std::vector<DrawnGraph> graphs{{.title = network.name() + ": forward",
                                          .plan = forward.plan(),
                                          .memory = forward.memory(),
                                          .batchSize = batchSize},
                                         {.title = network.name() + ": training",
                                          .plan = training.plan(),
                                          .memory = training.memory(),
                                          .batchSize = batchSize}};
    print(graphs, {forward.planDescription(), training.planDescription()});
    if (!svg.empty()) {
      formats::writeFileAtomically(svg, "the drawing",
                                   [&](formats::FileWriter& file) { file.write(drawGraphs(graphs)); });
    }
    return 0;
  }

  void print(const std::vector<DrawnGraph>& graphs, const std::vector<std::string>& descriptions) const {
    for (std::size_t i = 0; i < graphs.size(); ++i) {
      if (json) {
        fmt::print("{}\n", toJson(graphs[i]).dump());
      } else {
        fmt::print("{}{}, batch of {}\n{}", i > 0 ? "\n" : "", graphs[i].title, graphs[i].batchSize, descriptions[i]);
      }
    }
  }
};

}  // namespace

Command addGraphCommand(CLI::App& tool) {
  const auto command = std::make_shared<GraphCommand>();
  CLI::App* const app =
      tool.add_subcommand("graph", "Show what the graphs of a network encode, forward and in training");
  command->network.addTo(*app, "lenet");
  app->add_option("--batch-size", command->batchSize, "Images of one step")->type_name("N")->capture_default_str();
  app->add_option("--svg", command->svg, "Draw both graphs into this file")->type_name("FILE");
  command->device.addTo(*app, "Device that the graphs are made for");
  app->add_flag("--json", command->json, "Print one JSON object for each graph");
  return {.app = app, .action = [command] { return command->run(); }};
}
