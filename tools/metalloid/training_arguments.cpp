#include "training_arguments.hpp"

#include "command.hpp"
#include "core/format.hpp"
#include "formats/file_reader.hpp"
#include "training/layered_network.hpp"

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <charconv>
#include <string_view>

using namespace metalloid;
using namespace metalloid::training;

namespace {

constexpr std::uint64_t kMaximumText = std::uint64_t{1} << 20;

std::vector<std::size_t> widths(std::string_view text) {
  std::vector<std::size_t> result;
  if (text == "none") return result;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view number = text.substr(0, comma);
    std::size_t width = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), width);
    if (number.empty() || error != std::errc() || end != number.data() + number.size()) {
      throw UsageError(fmt::format("--hidden takes widths such as 512,256, or none, but \"{}\" is no width.", number));
    }
    result.push_back(width);
    if (comma == std::string_view::npos) return result;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

void NetworkChoice::addTo(CLI::App& app, const std::string& defaultName) {
  name_ = defaultName;
  app.add_option("--network", name_, "mlp, lenet, or a file that describes a network")
      ->type_name("NAME|FILE")
      ->capture_default_str()
      ->group("Network");
}

NetworkOptions NetworkChoice::described() const {
  NetworkOptions options;
  options.name = name_;
  options.text = builtInNetwork(name_);
  if (!options.isLayered()) {
    const auto bytes = asUsage([&] { return formats::readWholeFile(name_, "Network file", kMaximumText); });
    options.text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  const LayeredNetwork network = parseNetwork(options.text, options.name);
  options.inputs = network.input().elements();
  options.classes = network.result().elements();
  return options;
}

void NetworkArguments::addTo(CLI::App& app, bool onlyMlp) {
  constexpr const char* kGroup = "Network";
  if (onlyMlp) {
    choice_ = NetworkChoice("mlp");
  } else {
    choice_.addTo(app, "mlp");
  }
  const std::size_t before = app.get_options({}).size();
  app.add_option("--hidden", hidden_, "Widths of the hidden layers, or none")
      ->type_name("N,N...")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--neuron", neuron_, fmt::format("Neuron of the hidden layers: {}", neuronTypeNames()))
      ->type_name("NAME")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--neuron-a", a_, "The neuron's parameter a (default: the neuron's own; for prelu every slope, 0.25)")
      ->type_name("X")
      ->group(kGroup);
  app.add_option("--neuron-b", b_, "The neuron's parameter b")->type_name("X")->group(kGroup);
  app.add_option("--neuron-c", c_, "The neuron's parameter c")->type_name("X")->group(kGroup);
  app.add_option("--batch-normalization", defaults_.batchNormalization,
                 "Batch normalization before the neurons: on or off (default: on)")
      ->type_name("on|off")
      ->group(kGroup);
  app.add_option("--bn-epsilon", defaults_.batchNormalizationEpsilon, "What batch normalization adds to the variance")
      ->type_name("X")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--bn-momentum", defaults_.batchNormalizationMomentum,
                 "What one batch contributes to the running statistics that evaluation uses")
      ->type_name("X")
      ->capture_default_str()
      ->group(kGroup);
  const auto all = app.get_options({});
  mlpOptions_.assign(all.begin() + static_cast<std::ptrdiff_t>(before), all.end());
}

NetworkOptions NetworkArguments::options() const {
  if (!isMlp()) {
    for (const CLI::Option* option : mlpOptions_) {
      if (option->count() == 0) continue;
      throw UsageError(
          fmt::format("{} is an option of the network mlp, and not of {}.", option->get_name(), choice_.name()));
    }
    return choice_.described();
  }
  return asUsage([&] {
    NetworkOptions options = defaults_;
    options.hidden = widths(hidden_);
    options.neuron = defaultNeuron(neuronTypeNamed(neuron_));
    if (a_) options.neuron.a = *a_;
    if (b_) options.neuron.b = *b_;
    if (c_) options.neuron.c = *c_;
    check(options);
    return options;
  });
}

void TrainingArguments::addTo(CLI::App& app) {
  constexpr const char* kOptimizer = "Optimizer";
  constexpr const char* kTraining = "Training";
  const auto number = [&](const char* group, const char* name, auto& value, const char* text) {
    app.add_option(name, value, text)->type_name("X")->capture_default_str()->group(group);
  };
  const auto count = [&](const char* group, const char* name, auto& value, const char* text) {
    app.add_option(name, value, text)->type_name("N")->capture_default_str()->group(group);
  };
  app.add_option("--optimizer", optimizer_, "sgd, rmsprop or adam")
      ->type_name("NAME")
      ->capture_default_str()
      ->group(kOptimizer);
  app.add_option("--learning-rate", learningRate_, "Rate at the start (default: 0.1 for sgd, 0.001 for the others)")
      ->type_name("X")
      ->group(kOptimizer);
  number(kOptimizer, "--momentum", options_.optimizer.momentum, "sgd: what is kept of the momentum in each step");
  app.add_flag("--nesterov", options_.optimizer.nesterov, "sgd: Nesterov's form of momentum")->group(kOptimizer);
  number(kOptimizer, "--decay", options_.optimizer.decay, "rmsprop: what is kept of the mean square");
  number(kOptimizer, "--epsilon", options_.optimizer.epsilon, "rmsprop, adam: added to the root");
  number(kOptimizer, "--beta1", options_.optimizer.beta1, "adam: what is kept of the momentum");
  number(kOptimizer, "--beta2", options_.optimizer.beta2, "adam: what is kept of the velocity");
  app.add_flag("--amsgrad", options_.optimizer.amsgrad, "adam: divide by the largest velocity so far")
      ->group(kOptimizer);
  number(kOptimizer, "--weight-decay", options_.optimizer.weightDecay, "L2 regularization of weight matrices");
  number(kOptimizer, "--l1", options_.optimizer.l1, "L1 regularization of weight matrices");
  app.add_option("--gradient-clip", gradientClip_, "Bound on the magnitude of each element of a gradient")
      ->type_name("X")
      ->group(kOptimizer);
  app.add_option("--schedule", schedule_, "Of the learning rate: constant, cosine (to 0) or step")
      ->type_name("NAME")
      ->capture_default_str()
      ->group(kOptimizer);
  count(kOptimizer, "--schedule-epochs", options_.scheduleStepEpochs, "step: epochs until the rate drops");
  number(kOptimizer, "--schedule-factor", options_.scheduleStepFactor, "step: factor of a drop");

  app.add_option("--batch-size", batchSize_, "Images of one step (default: 256 for mlp, 128 for others)")
      ->type_name("N")
      ->group(kTraining);
  count(kTraining, "--epochs", options_.epochs, "Passes over the training images");
  count(kTraining, "--seed", options_.seed, "Seed of weights, order of images and validation split");
  number(kTraining, "--label-smoothing", options_.labelSmoothing, "Share of a label that is spread over all classes");
  number(kTraining, "--validation-split", options_.validationSplit, "Share of the training images that is held back");
  app.add_option("--data", options_.dataDirectory,
                 "Directory with train-images-idx3-ubyte and so on, each with or without .gz")
      ->type_name("DIR")
      ->capture_default_str()
      ->group(kTraining);
  app.add_option("--checkpoint-every", options_.checkpointEvery,
                 "Steps between checkpoints (default: one at the end of each epoch)")
      ->type_name("STEPS")
      ->check(CLI::PositiveNumber)
      ->group(kTraining);
  count(kTraining, "--keep-checkpoints", options_.keepCheckpoints, "Newest checkpoints that are kept");
  app.add_flag("--report,!--no-report", options_.report, "Write report.html (default: yes)")->group(kTraining);
}

TrainingOptions TrainingArguments::options(const NetworkArguments& network) const {
  TrainingOptions options = options_;
  options.network = network.options();
  options.batchSize = batchSize_.value_or(network.isMlp() ? 256 : 128);
  asUsage([&] {
    options.optimizer.kind = optimizerNamed(optimizer_);
    options.optimizer.learningRate = learningRate_.value_or(defaultLearningRate(options.optimizer.kind));
    options.optimizer.gradientClip = gradientClip_;
    options.schedule = scheduleNamed(schedule_);
    check(options);
  });
  return options;
}

void DeviceArguments::addTo(CLI::App& app, const std::string& what) {
  app.add_option("--device", name_, what + "; `metalloid devices` lists them")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--threads", threads_, "Threads of the device cpu (default: one for each processor)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
}

Device DeviceArguments::device() const {
  return asUsage([&] {
    const Device device = Device::named(name_);
    if (threads_) device.setNumberOfThreads(*threads_);
    return device;
  });
}

Device DeviceArguments::computingDevice(const std::string& name) const {
  return asUsage([&] {
    const Device device = Device::named(name);
    if (device == Device::named("null")) {
      throw Error(ErrorCode::invalidArgument, "The device null computes nothing; choose another.");
    }
    if (threads_) device.setNumberOfThreads(*threads_);
    return device;
  });
}
