#include "training/gradient_check.hpp"

#include "core/format.hpp"
#include "math/distributions.hpp"
#include "math/philox.hpp"
#include "training/double_network.hpp"
#include "training/network.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

namespace metalloid::training {
namespace {

// A neuron's argument this far from a kink lies on the same side of it in float32 and in double precision.
constexpr double kSafeDistance = 2e-5;
constexpr int kAttempts = 24;

// A central difference errs by h^2 times the third derivative and by the rounding of the loss, 1e-16/h: both are near
// 1e-10 here. Near a kink, smaller steps are tried.
constexpr double kStep = 1e-5;
constexpr double kSmallestStep = 1e-7;

// Below this share of the network's largest gradient, a gradient is what is left of terms that cancel.
constexpr double kCancelled = 1e-2;

// Streams of the random numbers under the check's seed; those of the weights are below 2^16.
enum Stream : std::uint64_t { kSampleStream = 1u << 16, kPerturbationStream = 1u << 17, kChoiceStream = 1u << 18 };

math::Philox randomOf(std::uint32_t seed, std::uint64_t stream) { return {(stream << 32) | seed}; }

DoubleNetwork::Samples randomSamples(const GradientCheckOptions& options, std::uint64_t attempt) {
  const math::Philox random = randomOf(options.seed, kSampleStream + attempt);
  DoubleNetwork::Samples samples;
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < options.rows * options.network.inputs; ++i) {
    samples.inputs.push_back(math::normalFloat(random.word(word++), 0, 1));
  }
  for (std::size_t i = 0; i < options.rows; ++i) {
    samples.labels.push_back(static_cast<std::uint32_t>(random.word(word++) % options.network.classes));
  }
  return samples;
}

/// Moves the parameters that start at 0 or 1 to places where their gradients say more.
void perturbVectors(const Network& network, std::uint32_t seed) {
  const auto& parameters = network.parameters().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].isVector) continue;
    const math::Philox random = randomOf(seed, kPerturbationStream + i);
    const Vector vector = network.parameters().valueVector(i);
    auto values = vector.read<float>();
    for (std::size_t j = 0; j < values.size(); ++j) values[j] += math::normalFloat(random.word(j), 0, 0.1f);
    vector.write(values);
  }
}

DoubleNetwork::Parameters parametersOf(const Network& network) {
  DoubleNetwork::Parameters result;
  const auto& parameters = network.parameters().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result[parameters[i].name] = network.parameters().valueMatrix(i).read<double>();
  }
  return result;
}

using Gradients = std::map<std::string, std::vector<double>>;

/// The gradients that a training step of `network` gives.
Gradients gradientsOf(const Network& network, const DoubleNetwork::Samples& samples) {
  const Device& device = network.device();
  const Batch batch{.inputs = Matrix(device, {.rows = samples.rows(), .columns = network.options().inputs}),
                    .labels = Vector(device, {.length = samples.rows(), .dataType = DataType::uInt32})};
  batch.inputs.write(samples.inputs);
  batch.labels.write(samples.labels);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  commands.setLabel("gradient check");
  network.encodeTrainingStep(commands, batch, {});
  commands.commit();
  commands.waitUntilCompleted();
  Gradients gradients;
  const auto& parameters = network.parameters().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    gradients[parameters[i].name] = network.parameters().gradientMatrix(i).read<double>();
  }
  return gradients;
}

/// Takes central differences of the loss.
class Differences {
 public:
  Differences(const DoubleNetwork& network, DoubleNetwork::Parameters parameters, const DoubleNetwork::Samples& samples)
      : network_(network), parameters_(std::move(parameters)), samples_(samples) {}

  /// d loss / d s along `tensor` + s * direction, or nothing when even small steps cross a kink.
  std::optional<double> along(const std::string& tensor, const std::vector<std::pair<std::size_t, double>>& direction) {
    auto& values = parameters_.at(tensor);
    for (double step = kStep; step >= kSmallestStep; step /= 10) {
      const auto lossAt = [&](double s) {
        std::vector<double> saved;
        for (const auto& [index, factor] : direction) {
          saved.push_back(values[index]);
          values[index] += s * factor;
        }
        const auto loss = network_.loss(parameters_, samples_);
        for (std::size_t i = 0; i < direction.size(); ++i) values[direction[i].first] = saved[i];
        return loss;
      };
      const auto above = lossAt(step);
      const auto below = lossAt(-step);
      if (above.branches == below.branches) return (above.value - below.value) / (2 * step);
    }
    return std::nullopt;
  }

 private:
  const DoubleNetwork& network_;
  DoubleNetwork::Parameters parameters_;
  const DoubleNetwork::Samples& samples_;
};

/// Half of them those with the largest gradients, half at random.
std::vector<std::size_t> chosenElements(const std::vector<double>& gradient, std::size_t count, math::Philox random) {
  count = std::min(count, gradient.size());
  std::vector<std::size_t> order(gradient.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto largest = order.begin() + static_cast<std::ptrdiff_t>((count + 1) / 2);
  std::partial_sort(order.begin(), largest, order.end(),
                    [&](std::size_t a, std::size_t b) { return std::abs(gradient[a]) > std::abs(gradient[b]); });
  std::set<std::size_t> chosen(order.begin(), largest);
  for (std::uint64_t word = 0; chosen.size() < count; ++word) chosen.insert(random.word(word) % gradient.size());
  return {chosen.begin(), chosen.end()};
}

double largestMagnitude(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// Larger of the two; NaN, which is no agreement with anything, wins.
double worse(double a, double b) { return b > a || std::isnan(b) ? b : a; }

}  // namespace

void check(const GradientCheckOptions& options) {
  check(options.network);
  const auto refuse = [](std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); };
  if (options.rows < 2 || options.rows > 4096) {
    refuse(fmt::format("The batch of the gradient check has {} samples, but 2 to 4096 are possible.", options.rows));
  }
  if (options.elements == 0) refuse("The gradient check looks at 0 elements of each tensor, but needs at least 1.");
  if (!(options.tolerance > 0)) {
    refuse(fmt::format("The tolerance of the gradient check is {}, but must be above 0.", options.tolerance));
  }
  if (!(options.labelSmoothing >= 0 && options.labelSmoothing < 1)) {
    refuse(fmt::format("The label smoothing is {}, but must not be negative and lie below 1.", options.labelSmoothing));
  }
}

bool GradientCheck::holds() const {
  return std::ranges::all_of(tensors, [](const TensorCheck& tensor) { return tensor.holds; });
}

GradientCheck checkGradients(const Device& device, const GradientCheckOptions& options) {
  check(options);
  Network network(device, options.network, options.rows);
  network.labelSmoothing = options.labelSmoothing;
  network.initialize(device.makeCommandQueue(), options.seed);
  perturbVectors(network, options.seed);
  const auto parameters = parametersOf(network);
  const DoubleNetwork oracle(options.network, options.labelSmoothing);

  // Of some batches, the one that stays farthest from kinks.
  DoubleNetwork::Samples samples;
  DoubleNetwork::Loss loss{.value = 0, .branches = 0, .kinkDistance = -1};
  for (int attempt = 0; attempt < kAttempts && loss.kinkDistance < kSafeDistance; ++attempt) {
    auto candidate = randomSamples(options, static_cast<std::uint64_t>(attempt));
    const auto candidateLoss = oracle.loss(parameters, candidate);
    if (candidateLoss.kinkDistance > loss.kinkDistance || attempt == 0) {
      loss = candidateLoss;
      samples = std::move(candidate);
    }
  }
  if (!std::isfinite(loss.value)) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The loss of the network {} is {} at the samples of the gradient check: it has no gradient "
                            "there. The neuron's parameters may put its arguments outside of its domain.",
                            describe(options.network), loss.value));
  }

  Network referenceNetwork(Device::named("reference"), options.network, options.rows);
  referenceNetwork.labelSmoothing = options.labelSmoothing;
  referenceNetwork.parameters().values().write(network.parameters().values().read<float>());
  const Gradients gradients = gradientsOf(network, samples);
  const Gradients references = gradientsOf(referenceNetwork, samples);

  GradientCheck result{.loss = loss.value, .tensors = {}};
  Differences differences(oracle, parameters, samples);
  double largestOfAll = 0;
  for (const auto& [name, reference] : references) largestOfAll = std::max(largestOfAll, largestMagnitude(reference));
  std::uint64_t stream = kChoiceStream;
  for (const auto& parameter : network.parameters().parameters()) {
    const auto& gradient = gradients.at(parameter.name);
    const auto& reference = references.at(parameter.name);
    const double largest = std::max({largestMagnitude(reference), kCancelled * largestOfAll, 1e-30});
    const math::Philox random = randomOf(options.seed, stream++);
    TensorCheck tensor{.name = parameter.name, .elements = gradient.size()};

    for (const std::size_t element : chosenElements(reference, options.elements, random)) {
      const auto difference = differences.along(parameter.name, {{element, 1.0}});
      if (!difference) {
        ++tensor.atKinks;
        continue;
      }
      ++tensor.checked;
      tensor.differencesError = worse(tensor.differencesError, std::abs(gradient[element] - *difference) / largest);
    }

    // The projection on a random direction of length 1 sees every element, if dimly.
    std::vector<std::pair<std::size_t, double>> direction;
    double projection = 0;
    const double scale = 1 / std::sqrt(static_cast<double>(gradient.size()));
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double factor = (random.word(1'000'000 + i) & 1) != 0 ? scale : -scale;
      direction.emplace_back(i, factor);
      projection += factor * gradient[i];
    }
    if (const auto difference = differences.along(parameter.name, direction)) {
      tensor.directionError = std::abs(projection - *difference) / largest;
    }

    for (std::size_t i = 0; i < gradient.size(); ++i) {
      tensor.referenceError = worse(tensor.referenceError, std::abs(gradient[i] - reference[i]) / largest);
    }
    const double worst = worse(worse(tensor.differencesError, tensor.directionError), tensor.referenceError);
    tensor.holds = worst <= options.tolerance;
    result.tensors.push_back(tensor);
  }
  return result;
}

}  // namespace metalloid::training
