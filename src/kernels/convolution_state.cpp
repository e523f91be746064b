#include "kernels/convolution_state.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/error.hpp>

namespace metalloid {

using detail::ConvolutionGradientStateImplementation;
using detail::ConvolutionTransposeGradientStateImplementation;
using detail::ConvolutionWeightsStateImplementation;

namespace detail {

ConvolutionGradientStateImplementation::ConvolutionGradientStateImplementation(
    Ref<DeviceImplementation> device, CommandBuffer* commandBuffer, ForwardRecord record,
    std::shared_ptr<const CNNConvolution> convolution, const ConvolutionWeights& weights)
    : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)),
      convolution_(std::move(convolution)) {
  addVector(weights.weights().length(), DataType::float32);
  addVector(weights.descriptor().outputFeatureChannels, DataType::float32);
}

}  // namespace detail

namespace {

constexpr const char* kGradientState = "CNNConvolutionGradientState";
constexpr const char* kTransposeGradientState = "CNNConvolutionTransposeGradientState";
constexpr const char* kWeightsState = "CNNConvolutionWeightsAndBiasesState";

ConvolutionGradientStateImplementation& gradientsOf(const CNNConvolutionGradientState& state) {
  return detail::implementationAs<ConvolutionGradientStateImplementation>(state, kGradientState);
}
ConvolutionWeightsStateImplementation& weightsOf(const CNNConvolutionWeightsAndBiasesState& state) {
  return detail::implementationAs<ConvolutionWeightsStateImplementation>(state, kWeightsState);
}

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

/// `elements` of float32 in a caller's buffer.
Vector part(std::string_view role, const Buffer& buffer, std::size_t offset, std::size_t elements) {
  if (offset % sizeof(float) != 0)
    refuse(fmt::format("The {}Offset of a {} is {}, but must be a multiple of 4.", role, kWeightsState, offset));
  if (offset > buffer.length() || elements > (buffer.length() - offset) / sizeof(float)) {
    refuse(fmt::format("The {} of a {} are {} float32 from byte {} on, but their buffer has {} bytes.", role,
                       kWeightsState, elements, offset, buffer.length()));
  }
  return Vector(buffer, offset, {.length = elements});
}

Vector whole(std::string_view role, const Buffer& buffer) {
  if (buffer.length() % sizeof(float) != 0) {
    refuse(
        fmt::format("The {} of a {} have {} bytes, but must be whole float32.", role, kWeightsState, buffer.length()));
  }
  return part(role, buffer, 0, buffer.length() / sizeof(float));
}

detail::Ref<detail::RefCounted> stateOf(const Buffer& weights, const Buffer& biases, Vector weightsVector,
                                        Vector biasesVector) {
  const Device device = weights.device();
  if (biases && biases.device() != device)
    refuse(fmt::format("The weights and biases of a {} are of one device.", kWeightsState));
  auto state = detail::makeRef<ConvolutionWeightsStateImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)));
  state->addVector(std::move(weightsVector));
  if (biasesVector) state->addVector(std::move(biasesVector));
  return state;
}

void requireWeights(const Buffer& weights) {
  if (!weights) refuse(fmt::format("The weights of a {} are nil.", kWeightsState));
}

detail::Ref<detail::RefCounted> newState(const Device& device, CommandBuffer* commandBuffer,
                                         const CNNConvolutionDescriptor& descriptor) {
  auto state = detail::makeRef<ConvolutionWeightsStateImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)), commandBuffer);
  state->addVector(detail::weightCount(descriptor, kWeightsState), DataType::float32);
  state->addVector(descriptor.outputFeatureChannels, DataType::float32);
  return state;
}

}  // namespace

// --- Gradients -------------------------------------------------------------------------------------------------------

CNNConvolutionGradientState::CNNConvolutionGradientState(const State& state) : NNGradientState(state.implementation()) {
  if (state) gradientsOf(*this);
}

Vector CNNConvolutionGradientState::gradientForWeights() const { return gradientsOf(*this).gradientForWeights(); }
Vector CNNConvolutionGradientState::gradientForBiases() const { return gradientsOf(*this).gradientForBiases(); }

CNNConvolution CNNConvolutionGradientState::convolution() const {
  const auto& self = gradientsOf(*this);
  if (!self.convolution()) refuse(fmt::format("{} is paired with no convolution.", self.name()));
  return *self.convolution();
}

std::size_t CNNConvolutionGradientState::sourceWidth() const {
  return gradientsOf(*this).record().sources.front().image.width;
}
std::size_t CNNConvolutionGradientState::sourceHeight() const {
  return gradientsOf(*this).record().sources.front().image.height;
}

CNNConvolutionTransposeGradientState::CNNConvolutionTransposeGradientState(const State& state)
    : CNNConvolutionGradientState(state.implementation()) {
  if (state) detail::implementationAs<ConvolutionTransposeGradientStateImplementation>(state, kTransposeGradientState);
}

CNNConvolutionTranspose CNNConvolutionTransposeGradientState::convolutionTranspose() const {
  return detail::implementationAs<ConvolutionTransposeGradientStateImplementation>(*this, kTransposeGradientState)
      .transpose();
}

// --- Weights and biases ----------------------------------------------------------------------------------------------

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(const State& state) : State(state) {
  if (state) weightsOf(*this);
}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(const Buffer& weights, const Buffer& biases)
    : State([&] {
        requireWeights(weights);
        return stateOf(weights, biases, whole("weights", weights), biases ? whole("biases", biases) : Vector());
      }()) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const Device& device, const CNNConvolutionDescriptor& cnnConvolutionDescriptor)
    : State(newState(device, nullptr, cnnConvolutionDescriptor)) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const Buffer& weights, std::size_t weightsOffset, const Buffer& biases, std::size_t biasesOffset,
    const CNNConvolutionDescriptor& cnnConvolutionDescriptor)
    : State([&] {
        requireWeights(weights);
        const std::size_t count = detail::weightCount(cnnConvolutionDescriptor, kWeightsState);
        return stateOf(
            weights, biases, part("weights", weights, weightsOffset, count),
            biases ? part("biases", biases, biasesOffset, cnnConvolutionDescriptor.outputFeatureChannels) : Vector());
      }()) {}

CNNConvolutionWeightsAndBiasesState CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(
    CommandBuffer& commandBuffer, const CNNConvolutionDescriptor& cnnConvolutionDescriptor) {
  const Device device = detail::implementation(commandBuffer).device().handle();
  return CNNConvolutionWeightsAndBiasesState(newState(device, &commandBuffer, cnnConvolutionDescriptor));
}

Vector CNNConvolutionWeightsAndBiasesState::weights() const { return weightsOf(*this).weights(); }
Vector CNNConvolutionWeightsAndBiasesState::biases() const { return weightsOf(*this).biases(); }
std::size_t CNNConvolutionWeightsAndBiasesState::weightsOffset() const { return weights().offset(); }
std::size_t CNNConvolutionWeightsAndBiasesState::biasesOffset() const {
  const Vector vector = biases();
  return vector ? vector.offset() : 0;
}

}  // namespace metalloid
