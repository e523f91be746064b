#include "command.hpp"
#include "core/format.hpp"
#include "training/gradient_check.hpp"
#include "training_arguments.hpp"

#include <cmath>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

using namespace metalloid;
using namespace metalloid::training;

namespace {

struct GradcheckCommand {
  NetworkArguments network;
  DeviceArguments device;
  GradientCheckOptions options;
  bool json = false;

  int run() {
    const Device chosen = device.computingDevice();
    const auto [inputs, classes] = std::pair{options.network.inputs, options.network.classes};
    options.network = network.options();
    options.network.inputs = inputs;
    options.network.classes = classes;
    asUsage([&] { check(options); });
    const GradientCheck result = checkGradients(chosen, options);
    if (!json) {
      fmt::print("{} on {}, {} samples, loss {:.6f}\n", describe(options.network), chosen.name(), options.rows,
                 result.loss);
      fmt::print("{:<20} {:>12} {:>8} {:>8} {:>14} {:>14} {:>14}  {}\n", "gradient of", "elements", "checked",
                 "at kinks", "differences", "direction", "reference", "");
    }
    for (const auto& tensor : result.tensors) print(tensor);
    if (json) {
      const nlohmann::json line{
          {"final", true}, {"holds", result.holds()}, {"loss", result.loss}, {"tolerance", options.tolerance}};
      fmt::print("{}\n", line.dump());
    } else if (result.holds()) {
      fmt::print("Every gradient is right within {} of its tensor's largest element.\n", options.tolerance);
    } else {
      fmt::print("A gradient is wrong by more than {} of its tensor's largest element.\n", options.tolerance);
    }
    return result.holds() ? 0 : 1;
  }

  void print(const TensorCheck& tensor) const {
    if (json) {
      const nlohmann::json line{{"tensor", tensor.name},
                                {"elements", tensor.elements},
                                {"checked", tensor.checked},
                                {"at_kinks", tensor.atKinks},
                                {"differences_error", tensor.differencesError},
                                {"direction_error", tensor.directionError},
                                {"reference_error", tensor.referenceError},
                                {"holds", tensor.holds}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{:<20} {:>12} {:>8} {:>8} {:>14.3g} {:>14.3g} {:>14.3g}  {}\n", tensor.name, tensor.elements,
               tensor.checked, tensor.atKinks, tensor.differencesError, tensor.directionError, tensor.referenceError,
               tensor.holds ? "holds" : "FAILS");
  }
};

}  // namespace

Command addGradcheckCommand(CLI::App& tool) {
  const auto command = std::make_shared<GradcheckCommand>();
  CLI::App* const app = tool.add_subcommand(
      "gradcheck", "Compare a network's gradients with central differences in double precision and with `reference`");
  command->network.addTo(*app, /*onlyMlp=*/true);
  command->device.addTo(*app, "Device whose gradients are checked");
  auto& options = command->options;
  const auto number = [&](const char* name, auto& value, const char* text) {
    app->add_option(name, value, text)->type_name("N")->capture_default_str();
  };
  number("--inputs", options.network.inputs, "Inputs of the network");
  number("--classes", options.network.classes, "Classes");
  number("--label-smoothing", options.labelSmoothing, "Share of a label that is spread over all classes");
  number("--seed", options.seed, "Seed of weights and samples");
  number("--samples", options.rows, "Samples in the batch");
  number("--elements", options.elements, "Elements of each tensor to take differences of");
  number("--tolerance", options.tolerance, "Largest error, relative to the largest gradient in the tensor");
  app->add_flag("--json", command->json, "Print one JSON object per line");
  return {.app = app, .action = [command] { return command->run(); }};
}
