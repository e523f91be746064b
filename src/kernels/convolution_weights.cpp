#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/convolution_loading.hpp"
#include "kernels/convolution_state.hpp"
#include "kernels/encoding.hpp"
#include "kernels/vector_row.hpp"

#include <metalloid/detail/convolution_weights.hpp>
#include <metalloid/error.hpp>
#include <metalloid/kernel.hpp>

#include <cstring>
#include <string>
#include <utility>

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

}  // namespace

ConvolutionWeights::ConvolutionWeights(const Device& device, std::string_view className,
                                       std::shared_ptr<CNNConvolutionDataSource> dataSource)
    : Handle([&]() -> Ref<RefCounted> {
        if (!device) refuse(fmt::format("The device of a {} is nil.", className));
        if (!dataSource) refuse(fmt::format("The data source of a {} is nil.", className));
        LoadedLayer layer = load(className, *dataSource);
        return makeRef<WeightsImplementation>(device, std::move(layer.descriptor), std::move(dataSource), layer.values);
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
  return stateHandle<CNNConvolutionWeightsAndBiasesState>(state);
}

void ConvolutionWeights::reloadFromDataSource() const {
  auto& self = weightsOf(*this);
  const LoadedLayer layer = load("The convolution", *self.dataSource);
  const auto isLike = [](CNNConvolutionDescriptor a, CNNConvolutionDescriptor b) {
    a.batchNormalization.reset();  // its numbers may change as weights do
    b.batchNormalization.reset();
    return a == b;
  };
  if (!isLike(layer.descriptor, self.descriptor)) {
    refuse(
        fmt::format("The data source of {} has changed its descriptor: only weights, biases and batch normalization "
                    "can be reloaded.",
                    nameOf("the convolution", *self.dataSource)));
  }
  self.write(layer.values);
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
  return stateHandle<CNNConvolutionWeightsAndBiasesState>(state);
}

namespace {

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);  // which takes no null
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
