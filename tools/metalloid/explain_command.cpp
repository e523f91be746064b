#include "command.hpp"
#include "core/format.hpp"
#include "training/training_explanation.hpp"
#include "training_arguments.hpp"

#include <metalloid/command_buffer.hpp>

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

using namespace metalloid;
using namespace metalloid::training;

namespace {

struct ExplainCommand {
  NetworkArguments network;
  TrainingArguments training;
  DeviceArguments device;
  std::size_t inputs = 784;
  std::size_t classes = 10;
  bool json = false;

  int run() const {
    const Device chosen = device.device();
    TrainingOptions options = training.options(network);
    if (network.isMlp()) {
      options.network.inputs = inputs;
      options.network.classes = classes;
    }
    asUsage([&] { check(options); });
    for (const Explanation& explanation : explainTrainingStep(chosen, options)) print(explanation);
    return 0;
  }

  void print(const Explanation& explanation) const {
    if (json) {
      nlohmann::json refusals = nlohmann::json::array();
      for (const auto& refusal : explanation.refusals) {
        refusals.push_back({{"implementation", refusal.implementation}, {"reason", refusal.reason}});
      }
      const nlohmann::json line{{"operation", explanation.operation},
                                {"label", explanation.label},
                                {"shape", explanation.shape},
                                {"implementation", explanation.implementation},
                                {"refusals", refusals}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{:<52} {:<14} {}\n", explanation.label, explanation.implementation, explanation.shape);
    for (const auto& refusal : explanation.refusals) {
      fmt::print("{:<52} not {}: {}\n", "", refusal.implementation, refusal.reason);
    }
  }
};

}  // namespace

Command addExplainCommand(CLI::App& tool) {
  const auto command = std::make_shared<ExplainCommand>();
  CLI::App* const app = tool.add_subcommand(
      "explain", "Say which implementation runs each operation of a training step, and why not a faster one");
  command->network.addTo(*app);
  command->training.addTo(*app);
  command->device.addTo(*app);
  app->add_option("--inputs", command->inputs, "mlp: inputs of the network")->type_name("N")->capture_default_str();
  app->add_option("--classes", command->classes, "mlp: classes")->type_name("N")->capture_default_str();
  app->add_flag("--json", command->json, "Print one JSON object per line");
  return {.app = app, .action = [command] { return command->run(); }};
}
