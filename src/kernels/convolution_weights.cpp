#include "core/checked_size.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/convolution_state.hpp"
#include "kernels/encoding.hpp"
#include "kernels/vector_row.hpp"
#include "math/float16.hpp"

#include <metalloid/detail/convolution_weights.hpp>
#include <metalloid/error.hpp>
#include <metalloid/kernel.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace metalloid {

CNNConvolutionWeightsAndBiasesState CNNConvolutionDataSource::update(CommandBuffer&, const CNNConvolutionGradientState&,
                                                                     const CNNConvolutionWeightsAndBiasesState&) {
  return {};
}
bool CNNConvolutionDataSource::update(const CNNConvolutionGradientState&, const CNNConvolutionWeightsAndBiasesState&) {
  return false;
}
std::shared_ptr<CNNConvolutionDataSource> CNNConvolutionDataSource::copy(const Device&) { return nullptr; }

namespace detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

/// Weights and biases on the host, as the device is to have them.
struct HostWeights {
  std::vector<float> weights;
  std::vector<float> biases;  // empty: none
};

class WeightsImplementation final : public RefCounted {
 public:
  WeightsImplementation(const Device& device, CNNConvolutionDescriptor shape,
                        std::shared_ptr<CNNConvolutionDataSource> source, const HostWeights& host)
      : descriptor(std::move(shape)), dataSource(std::move(source)), weights(device, {.length = host.weights.size()}) {
    write(host);
  }

  void write(const HostWeights& host) {
    weights.write(host.weights);
    if (host.biases.empty()) {
      biases = {};
    } else {
      makeBiases();
      biases.write(host.biases);
    }
  }
  void makeBiases() {
    if (!biases) biases = Vector(weights.device(), {.length = descriptor.outputFeatureChannels});
  }
  HostWeights read() const {
    return {.weights = weights.read<float>(), .biases = biases ? biases.read<float>() : std::vector<float>()};
  }

  const CNNConvolutionDescriptor descriptor;
  const std::shared_ptr<CNNConvolutionDataSource> dataSource;
  const Vector weights;
  Vector biases;  // nil: none
};

WeightsImplementation& weightsOf(const ConvolutionWeights& weights) {
  if (!weights) refuse("The weights of a convolution are nil.");
  return static_cast<WeightsImplementation&>(*weights.implementation());
}

/// What an archive gives in the place of the data source that it cannot hold.
class ArchivedDataSource final : public CNNConvolutionDataSource {
 public:
  ArchivedDataSource(CNNConvolutionDescriptor descriptor, HostWeights values, std::string label)
      : descriptor_(std::move(descriptor)), values_(std::move(values)), label_(std::move(label)) {}

  DataType dataType() const override { return DataType::float32; }
  CNNConvolutionDescriptor descriptor() const override { return descriptor_; }
  std::span<const std::byte> weights() override { return std::as_bytes(std::span(values_.weights)); }
  std::span<const float> biasTerms() override { return values_.biases; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() const override { return label_; }

 private:
  CNNConvolutionDescriptor descriptor_;
  HostWeights values_;
  std::string label_;
};

void requireCount(std::string_view name, std::string_view what, std::size_t count, std::size_t expected) {
  if (count == expected) return;
  refuse(fmt::format("{} has {} {}, but its descriptor makes it {}.", name, count, what, expected));
}

std::string text(const CNNConvolutionDescriptor& d) {
  return fmt::format("{} x {} x {} x {} weights", d.outputFeatureChannels, d.kernelHeight, d.kernelWidth,
                     d.isDepthWise ? 1 : d.inputFeatureChannels / d.groups);
}

template <class T>
std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T element{};
    std::memcpy(static_cast<void*>(&element), bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<float>(element);
  }
  return values;
}

/// Weights of one byte, as the data source says what they mean.
void dequantize(std::string_view name, CNNConvolutionDataSource& source, const CNNConvolutionDescriptor& descriptor,
                std::vector<float>& weights) {
  switch (source.weightsQuantizationType()) {
    case CNNWeightsQuantizationType::linear: {
      const auto ranges = source.rangesForUInt8Kernel();
      requireCount(name, "ranges for uInt8 weights", ranges.size(), descriptor.outputFeatureChannels);
      const std::size_t each = weights.size() / ranges.size();
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const auto& [lower, upper] = ranges[i / each];
        weights[i] = weights[i] / 255 * (upper - lower) + lower;
      }
      return;
    }
    case CNNWeightsQuantizationType::lookupTable: {
      const auto table = source.lookupTableForUInt8Kernel();
      requireCount(name, "numbers in its lookup table for uInt8 weights", table.size(), 256);
      for (float& weight : weights) weight = table[static_cast<std::size_t>(weight)];
      return;
    }
    default:
      refuse(fmt::format("{} has uInt8 weights, but a weightsQuantizationType of {}: linear or lookupTable is needed.",
                         name, static_cast<std::uint32_t>(source.weightsQuantizationType())));
  }
}

void fold(std::string_view name, const CNNConvolutionBatchNormalization& n, std::size_t channels, HostWeights& host) {
  const auto check = [&](std::string_view what, const std::vector<float>& values) {
    if (!values.empty())
      requireCount(name, fmt::format("{} of its batch normalization", what), values.size(), channels);
  };
  check("means", n.mean);
  check("variances", n.variance);
  check("gammas", n.gamma);
  check("betas", n.beta);
  const auto or_ = [](const std::vector<float>& values, std::size_t k, double absent) {
    return values.empty() ? absent : static_cast<double>(values[k]);
  };
  if (host.biases.empty()) host.biases.resize(channels);
  const std::size_t each = host.weights.size() / channels;
  for (std::size_t k = 0; k < channels; ++k) {
    double factor = or_(n.gamma, k, 1);
    if (!n.variance.empty()) factor /= std::sqrt(static_cast<double>(n.variance[k]) + static_cast<double>(n.epsilon));
    const double shift = or_(n.beta, k, 0) - factor * or_(n.mean, k, 0);
    for (std::size_t i = k * each; i < (k + 1) * each; ++i)
      host.weights[i] = static_cast<float>(static_cast<double>(host.weights[i]) * factor);
    host.biases[k] = static_cast<float>(static_cast<double>(host.biases[k]) * factor + shift);
  }
}

HostWeights readLoaded(std::string_view name, CNNConvolutionDataSource& source,
                       const CNNConvolutionDescriptor& descriptor) {
  const std::size_t count = weightCount(descriptor, name);
  if (source.weightsLayout() != CNNConvolutionWeightsLayout::OHWI)
    refuse(fmt::format("{} has a weightsLayout other than OHWI.", name));
  const DataType type = source.dataType();
  if (type != DataType::float32 && type != DataType::float16 && type != DataType::uInt8) {
    refuse(fmt::format("{} has weights of type {}, but float32, float16 and uInt8 are possible.", name,
                       metalloid::name(type)));
  }
  const auto bytes = source.weights();
  if (bytes.size() != count * sizeOfDataType(type)) {
    refuse(fmt::format("{} gives {} bytes of weights, but its descriptor makes it {}: {} of type {}.", name,
                       bytes.size(), count * sizeOfDataType(type), text(descriptor), metalloid::name(type)));
  }
  HostWeights host;
  switch (type) {
    case DataType::float16:
      host.weights = floats<math::Float16>(bytes);
      break;
    case DataType::uInt8:
      host.weights = floats<std::uint8_t>(bytes);
      dequantize(name, source, descriptor, host.weights);
      break;
    default:
      host.weights = floats<float>(bytes);
  }
  const auto biases = source.biasTerms();
  if (!biases.empty()) requireCount(name, "biases", biases.size(), descriptor.outputFeatureChannels);
  host.biases.assign(biases.begin(), biases.end());
  if (descriptor.batchNormalization) fold(name, *descriptor.batchNormalization, descriptor.outputFeatureChannels, host);
  return host;
}

/// `name` of the kernel and the label: `CNNConvolution "conv1"`.
std::string nameOf(std::string_view className, const CNNConvolutionDataSource& source) {
  const std::string label = source.label();
  return label.empty() ? std::string(className) : fmt::format("{} \"{}\"", className, label);
}

/// Loads, reads and purges. The descriptor is the one that the weights belong to.
std::pair<CNNConvolutionDescriptor, HostWeights> load(std::string_view className, CNNConvolutionDataSource& source) {
  const std::string name = nameOf(className, source);
  if (!source.load()) refuse(fmt::format("The load() of the data source of {} returned false.", name));
  struct Purge {
    CNNConvolutionDataSource& source;
    ~Purge() { source.purge(); }
  } purge{source};
  auto descriptor = source.descriptor();
  auto host = readLoaded(name, source, descriptor);
  return {std::move(descriptor), std::move(host)};
}

void requireShape(std::string_view name, const CNNConvolutionDescriptor& d) {
  constexpr std::size_t kMost = std::size_t{1} << 31;
  const std::pair<const char*, std::size_t> sizes[] = {
      {"kernelWidth", d.kernelWidth},
      {"kernelHeight", d.kernelHeight},
      {"inputFeatureChannels", d.inputFeatureChannels},
      {"outputFeatureChannels", d.outputFeatureChannels},
      {"strideInPixelsX", d.strideInPixelsX},
      {"strideInPixelsY", d.strideInPixelsY},
      {"groups", d.groups},
      {"dilationRateX", d.dilationRateX},
      {"dilationRateY", d.dilationRateY},
      {"subPixelScaleFactor", d.subPixelScaleFactor},
  };
  for (const auto& [what, value] : sizes) {
    if (value == 0 || value > kMost)
      refuse(fmt::format("The {} of {} is {}, which is not possible.", what, name, value));
  }
  if (d.kernelWidth > kMost / d.dilationRateX || d.kernelHeight > kMost / d.dilationRateY)
    refuse(fmt::format("The dilated window of {} is too large.", name));
  if (d.inputFeatureChannels % d.groups != 0 || d.outputFeatureChannels % d.groups != 0) {
    refuse(fmt::format("{} has {} groups, which do not divide its {} input and {} output channels.", name, d.groups,
                       d.inputFeatureChannels, d.outputFeatureChannels));
  }
  if (d.isDepthWise && d.groups != 1)
    refuse(fmt::format("{} is depth-wise and has {} groups, but must have 1.", name, d.groups));
  if (d.isDepthWise && d.outputFeatureChannels % d.inputFeatureChannels != 0) {
    refuse(fmt::format("{} is depth-wise, but its {} output channels are no multiple of its {} input channels.", name,
                       d.outputFeatureChannels, d.inputFeatureChannels));
  }
  const std::size_t r = d.subPixelScaleFactor;
  if (r > kMost / r || d.outputFeatureChannels % (r * r) != 0) {
    refuse(fmt::format("{} has a subPixelScaleFactor of {}, whose square does not divide its {} output channels.", name,
                       r, d.outputFeatureChannels));
  }
}

}  // namespace

std::size_t weightCount(const CNNConvolutionDescriptor& d, std::string_view name) {
  requireShape(name, d);
  const CheckedSize each = d.isDepthWise ? CheckedSize(1) : CheckedSize(d.inputFeatureChannels / d.groups);
  const auto count = (CheckedSize(d.outputFeatureChannels) * d.kernelHeight * d.kernelWidth * each).value();
  if (!count || *count > all / 16) refuse(fmt::format("{} has more weights than there is memory.", name));
  return *count;
}

ConvolutionWeights::ConvolutionWeights(const Device& device, std::string_view className,
                                       std::shared_ptr<CNNConvolutionDataSource> dataSource)
    : Handle([&]() -> Ref<RefCounted> {
        if (!device) refuse(fmt::format("The device of a {} is nil.", className));
        if (!dataSource) refuse(fmt::format("The data source of a {} is nil.", className));
        auto [descriptor, host] = load(className, *dataSource);
        return makeRef<WeightsImplementation>(device, std::move(descriptor), std::move(dataSource), host);
      }()) {}

const CNNConvolutionDescriptor& ConvolutionWeights::descriptor() const { return weightsOf(*this).descriptor; }
const std::shared_ptr<CNNConvolutionDataSource>& ConvolutionWeights::dataSource() const {
  return weightsOf(*this).dataSource;
}
const Vector& ConvolutionWeights::weights() const { return weightsOf(*this).weights; }
const Vector& ConvolutionWeights::biases() const { return weightsOf(*this).biases; }

std::size_t ConvolutionWeights::operationGroups() const {
  const auto& d = descriptor();
  return d.isDepthWise ? d.inputFeatureChannels : d.groups;
}

CNNConvolutionWeightsAndBiasesState ConvolutionWeights::state() const {
  auto& self = weightsOf(*this);
  auto state = makeRef<ConvolutionWeightsStateImplementation>(
      Ref<DeviceImplementation>(&detail::implementation(self.weights.device())));
  state->addVector(self.weights);
  if (self.biases) state->addVector(self.biases);
  return stateHandle<CNNConvolutionWeightsAndBiasesState>(std::move(state));
}

void ConvolutionWeights::reloadFromDataSource() const {
  auto& self = weightsOf(*this);
  const auto [shape, host] = load("The convolution", *self.dataSource);
  const auto isLike = [](CNNConvolutionDescriptor a, CNNConvolutionDescriptor b) {
    a.batchNormalization.reset();  // its numbers may change as weights do
    b.batchNormalization.reset();
    return a == b;
  };
  if (!isLike(shape, self.descriptor)) {
    refuse(
        fmt::format("The data source of {} has changed its descriptor: only weights, biases and batch normalization "
                    "can be reloaded.",
                    nameOf("the convolution", *self.dataSource)));
  }
  self.write(host);
}

namespace {

bool isSame(const Vector& a, const Vector& b) {
  if (a == b) return true;
  const auto& one = detail::implementation(a);
  const auto& other = detail::implementation(b);
  return !one.isTemporary() && !other.isTemporary() && one.buffer() == other.buffer() &&
         one.offset() == other.offset() && one.layout().columns == other.layout().columns;
}

/// The operations that copy weights, and biases where both are given.
class WeightsCopy {
 public:
  WeightsCopy(const Kernel& kernel, CommandBuffer& commandBuffer) : encoding_(kernel, commandBuffer) {}

  Encoding& encoding() { return encoding_; }

  void add(std::string_view fromRole, const Vector& from, std::string_view toRole, const Vector& to) {
    auto source = encoding_.source(fromRole, from);
    auto result = encoding_.result(toRole, to);
    if (from.length() != to.length()) {
      encoding_.refuse(
          fmt::format("The {} have {} elements, but the {} have {}.", fromRole, from.length(), toRole, to.length()));
    }
    const Batch one;
    operations_.emplace_back(operations::MatrixCopy{.items = {{.source = rowOf(source.view(from.length(), one)),
                                                               .destination = rowOf(result.view(to.length(), one))}},
                                                    .offsets = {},
                                                    .rowPermute = {},
                                                    .columnPermute = {},
                                                    .rows = 1,
                                                    .columns = from.length()});
  }

  void record() { encoding_.record(std::move(operations_)); }

 private:
  Encoding encoding_;
  std::vector<operations::Operation> operations_;
};

}  // namespace

void ConvolutionWeights::reload(const Kernel& kernel, CommandBuffer& commandBuffer,
                                const CNNConvolutionWeightsAndBiasesState& state) const {
  auto& self = weightsOf(*this);
  WeightsCopy copy(kernel, commandBuffer);
  copy.encoding().reads("state", state);
  const Vector weights = state.weights(), biases = state.biases();
  if (!isSame(weights, self.weights)) copy.add("state's weights", weights, "weights", self.weights);
  if (biases && !(self.biases && isSame(biases, self.biases))) {
    self.makeBiases();
    copy.add("state's biases", biases, "biases", self.biases);
  }
  copy.record();
}

CNNConvolutionWeightsAndBiasesState ConvolutionWeights::exported(const Kernel& kernel, CommandBuffer& commandBuffer,
                                                                 bool canBeTemporary) const {
  auto& self = weightsOf(*this);
  WeightsCopy copy(kernel, commandBuffer);
  auto state = makeRef<ConvolutionWeightsStateImplementation>(
      Ref<DeviceImplementation>(&detail::implementation(self.weights.device())),
      canBeTemporary ? &commandBuffer : nullptr);
  copy.add("weights", self.weights, "state's weights", state->addVector(self.weights.length(), DataType::float32));
  if (self.biases)
    copy.add("biases", self.biases, "state's biases", state->addVector(self.biases.length(), DataType::float32));
  copy.record();
  return stateHandle<CNNConvolutionWeightsAndBiasesState>(std::move(state));
}

namespace {

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

ConvolutionWeights ConvolutionWeights::copy(const Device& device) const {
  auto& self = weightsOf(*this);
  std::shared_ptr<CNNConvolutionDataSource> source = self.dataSource;
  if (device != self.weights.device()) {
    if (auto copied = source->copy(device)) source = std::move(copied);
  }
  return ConvolutionWeights(makeRef<WeightsImplementation>(device, self.descriptor, std::move(source), self.read()));
}

void ConvolutionWeights::visit(SettingsVisitor& visitor, const Device& device, std::string_view className,
                               const NNNeuronDescriptor& neuron) {
  CNNConvolutionDescriptor d;
  HostWeights host;
  if (*this) {
    d = descriptor();
    host = weightsOf(*this).read();
  }
  const auto before = d;
  const auto valuesBefore = host;
  visitor.visit("descriptor.kernelWidth", d.kernelWidth);
  visitor.visit("descriptor.kernelHeight", d.kernelHeight);
  visitor.visit("inputFeatureChannels", d.inputFeatureChannels);
  visitor.visit("outputFeatureChannels", d.outputFeatureChannels);
  visitor.visit("descriptor.strideInPixelsX", d.strideInPixelsX);
  visitor.visit("descriptor.strideInPixelsY", d.strideInPixelsY);
  visitor.visit("groups", d.groups);
  visitor.visit("descriptor.dilationRateX", d.dilationRateX);
  visitor.visit("descriptor.dilationRateY", d.dilationRateY);
  visitor.visit("subPixelScaleFactor", d.subPixelScaleFactor);
  visitor.visit("isDepthWise", d.isDepthWise);
  visitor.visit("weights", host.weights);
  visitor.visit("biases", host.biases);
  const bool changed = !*this || d != before || !sameBits(host.weights, valuesBefore.weights) ||
                       !sameBits(host.biases, valuesBefore.biases);
  if (!changed) return;  // every visitor but the one that reads an archive
  try {
    d.fusedNeuronDescriptor = neuron;
    d.batchNormalization.reset();  // is in the weights
    *this =
        ConvolutionWeights(device, className, std::make_shared<ArchivedDataSource>(d, std::move(host), std::string()));
  } catch (const Error& error) {
    refuseSetting(className, "weights", error.message());
  }
}

}  // namespace detail
}  // namespace metalloid
