#include "operations/optimizer.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"
#include "kernels/optimizer_updates.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_optimizer.hpp>

#include <cmath>
#include <type_traits>

namespace metalloid {
namespace {

using detail::Encoding;
using operations::MatrixView;

// --- Descriptor ------------------------------------------------------------------------------------------------------

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

void requireFinite(std::string_view className, std::string_view setting, float value) {
  if (!std::isfinite(value))
    refuse(fmt::format("The {} of a {} is {}, but must be finite.", setting, className, value));
}

void requireEpsilon(std::string_view className, float epsilon) {
  if (!(epsilon >= 0) || std::isinf(epsilon)) {
    refuse(fmt::format("The epsilon of a {} is {}, but must be finite and at least 0.", className, epsilon));
  }
}

void check(std::string_view className, const NNOptimizerDescriptor& d) {
  requireFinite(className, "learningRate", d.learningRate);
  requireFinite(className, "gradientRescale", d.gradientRescale);
  requireFinite(className, "regularizationScale", d.regularizationScale);
  if (!(d.gradientClipMin <= d.gradientClipMax)) {
    refuse(fmt::format("The gradientClipMin of a {} is {}, but its gradientClipMax is {}.", className,
                       d.gradientClipMin, d.gradientClipMax));
  }
  if (static_cast<std::uint64_t>(d.regularizationType) > static_cast<std::uint64_t>(NNRegularizationType::L2)) {
    refuse(fmt::format("The regularizationType of a {} is {}, which does not exist.", className,
                       static_cast<std::uint64_t>(d.regularizationType)));
  }
}

constexpr const char* kSGD = "NNOptimizerStochasticGradientDescent";
constexpr const char* kRMSProp = "NNOptimizerRMSProp";
constexpr const char* kAdam = "NNOptimizerAdam";

void checkDecay(double decay) {
  if (!(decay >= 0 && decay <= 1)) refuse(fmt::format("The decay of a {} is {}, but must be 0 to 1.", kRMSProp, decay));
}

/// 1 is excluded: the correction of the bias would divide by 0, or make the rate 0.
void checkBeta(std::string_view setting, double beta) {
  if (!(beta >= 0 && beta < 1)) {
    refuse(fmt::format("The {} of a {} is {}, but must be at least 0 and less than 1.", setting, kAdam, beta));
  }
}

/// What an archive says must pass the constructor's checks.
template <class Check>
void checkDecoded(const char* className, const Check& run) {
  try {
    run();
  } catch (const Error& error) {
    detail::refuseSetting(className, "setting", error.message());
  }
}

// --- Operands --------------------------------------------------------------------------------------------------------

struct Roles {
  std::string_view gradient, values, momentum, sumOfSquares, velocity, maximumVelocity, result;
};

template <class Array>
constexpr Roles kRoles = {};
template <>
constexpr Roles kRoles<Vector> = {.gradient = "inputGradientVector",
                                  .values = "inputValuesVector",
                                  .momentum = "inputMomentumVector",
                                  .sumOfSquares = "inputSumOfSquaresVector",
                                  .velocity = "inputVelocityVector",
                                  .maximumVelocity = "maximumVelocityVector",
                                  .result = "resultValuesVector"};
template <>
constexpr Roles kRoles<Matrix> = {.gradient = "inputGradientMatrix",
                                  .values = "inputValuesMatrix",
                                  .momentum = "inputMomentumMatrix",
                                  .sumOfSquares = "inputSumOfSquaresMatrix",
                                  .velocity = "inputVelocityMatrix",
                                  .maximumVelocity = "maximumVelocityMatrix",
                                  .result = "resultValuesMatrix"};

/// One encode of an optimizer, on Matrix or Vector: whole operands, all of one size; a vector is a matrix of one row.
template <class Array>
class UpdateEncoding {
 public:
  UpdateEncoding(const NNOptimizer& optimizer, const CommandBuffer& commandBuffer, const Array& gradient,
                 const Array& values, const Array& result)
      : encoding_(optimizer, commandBuffer) {
    auto valuesOperand = encoding_.source(kRoles<Array>.values, values);
    auto gradientOperand = encoding_.source(kRoles<Array>.gradient, gradient);
    auto resultOperand = encoding_.result(kRoles<Array>.result, result);
    encoding_.allowInPlace(resultOperand, valuesOperand);
    values_ = values;
    operands_.values = whole(kRoles<Array>.values, values, valuesOperand);
    operands_.gradient = whole(kRoles<Array>.gradient, gradient, gradientOperand);
    operands_.result = whole(kRoles<Array>.result, result, resultOperand);
  }

  const operations::OptimizerOperands& operands() const { return operands_; }

  /// A state operand, read and overwritten.
  MatrixView state(std::string_view role, const Array& array) {
    auto operand = encoding_.update(role, array);
    return whole(role, array, operand);
  }

  /// The same, or an empty view for nil.
  MatrixView optionalState(std::string_view role, const Array& array) {
    return array ? state(role, array) : MatrixView();
  }

  void record(operations::Operation operation) { encoding_.record(std::move(operation)); }

 private:
  template <class Operand>
  MatrixView whole(std::string_view role, const Array& array, Operand& operand) {
    encoding_.requireType(operand, {DataType::float32, DataType::float16, DataType::bFloat16});
    const auto &layout = detail::implementation(array).layout(), &expected = detail::implementation(values_).layout();
    if (layout.rows != expected.rows || layout.columns != expected.columns || layout.matrices != expected.matrices) {
      encoding_.refuse(fmt::format("{} ({}) holds {}, but {} ({}) holds {}.", detail::implementation(array).name(),
                                   role, text(layout), detail::implementation(values_).name(), kRoles<Array>.values,
                                   text(expected)));
    }
    const detail::Batch all{.start = 0, .count = layout.matrices};
    if constexpr (std::is_same_v<Array, Matrix>) {
      return operand.view(layout.rows, layout.columns, all);
    } else {
      const auto view = operand.view(layout.columns, all);
      return {.data = view.data,
              .rows = 1,
              .columns = view.length,
              .rowBytes = layout.rowBytes,
              .matrices = layout.matrices,
              .matrixBytes = view.vectorBytes,
              .type = view.type};
    }
  }

  static std::string text(const detail::ArrayLayout& layout) {
    return std::is_same_v<Array, Matrix>
               ? fmt::format("{} matrices of {} rows and {} columns", layout.matrices, layout.rows, layout.columns)
               : fmt::format("{} vectors of {} elements", layout.matrices, layout.columns);
  }

  Encoding encoding_;
  Array values_;
  operations::OptimizerOperands operands_;
};

template <class Array>
void encodeUpdate(const NNOptimizerStochasticGradientDescent& optimizer, const CommandBuffer& commandBuffer,
                  const Array& gradient, const Array& values, const Array& momentum, const Array& result) {
  UpdateEncoding<Array> encoding(optimizer, commandBuffer, gradient, values, result);
  encoding.record(
      detail::updateOf(optimizer, encoding.operands(), encoding.optionalState(kRoles<Array>.momentum, momentum)));
}

template <class Array>
void encodeUpdate(const NNOptimizerRMSProp& optimizer, const CommandBuffer& commandBuffer, const Array& gradient,
                  const Array& values, const Array& sumOfSquares, const Array& result) {
  UpdateEncoding<Array> encoding(optimizer, commandBuffer, gradient, values, result);
  encoding.record(
      detail::updateOf(optimizer, encoding.operands(), encoding.state(kRoles<Array>.sumOfSquares, sumOfSquares)));
}

template <class Array>
void encodeUpdate(NNOptimizerAdam& optimizer, const CommandBuffer& commandBuffer, const Array& gradient,
                  const Array& values, const Array& momentum, const Array& velocity, const Array& maximumVelocity,
                  const Array& result) {
  UpdateEncoding<Array> encoding(optimizer, commandBuffer, gradient, values, result);
  const std::size_t step = detail::nextTimeStep(optimizer);
  encoding.record(
      detail::updateOf(optimizer, step, encoding.operands(),
                       {.momentum = encoding.state(kRoles<Array>.momentum, momentum),
                        .velocity = encoding.state(kRoles<Array>.velocity, velocity),
                        .maximumVelocity = encoding.optionalState(kRoles<Array>.maximumVelocity, maximumVelocity)}));
  optimizer.timeStep = step;
}

}  // namespace

// --- What every optimizer has ----------------------------------------------------------------------------------------

NNOptimizer::NNOptimizer(const Device& device, std::string_view className, const NNOptimizerDescriptor& descriptor)
    : Kernel(device, className), applyGradientClipping(descriptor.applyGradientClipping), descriptor_(descriptor) {
  check(className, descriptor);
}

void NNOptimizer::setLearningRate(float newLearningRate) {
  requireFinite(name(), "learningRate", newLearningRate);
  descriptor_.learningRate = newLearningRate;
}

void NNOptimizer::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("learningRate", descriptor_.learningRate);
  visitor.visit("gradientRescale", descriptor_.gradientRescale);
  visitor.visit("applyGradientClipping", applyGradientClipping);
  visitor.visit("gradientClipMax", descriptor_.gradientClipMax);
  visitor.visit("gradientClipMin", descriptor_.gradientClipMin);
  visitor.visit("regularizationType", descriptor_.regularizationType);
  visitor.visit("regularizationScale", descriptor_.regularizationScale);
  checkDecoded("NNOptimizer", [&] { check("NNOptimizer", descriptor_); });
}

// --- Stochastic gradient descent -------------------------------------------------------------------------------------

using SGD = NNOptimizerStochasticGradientDescent;

SGD::NNOptimizerStochasticGradientDescent(const Device& device, float learningRate)
    : SGD(device, {.optimizerDescriptor = {.learningRate = learningRate}}) {}

SGD::NNOptimizerStochasticGradientDescent(const Device& device, const Descriptor& descriptor)
    : NNOptimizer(device, kSGD, descriptor.optimizerDescriptor),
      momentumScale_(descriptor.momentumScale),
      useNesterovMomentum_(descriptor.useNesterovMomentum) {
  requireFinite(kSGD, "momentumScale", momentumScale_);
}

SGD::NNOptimizerStochasticGradientDescent(Unarchiver& coder, const Device& device) : SGD(device, Descriptor()) {
  decode(coder);
}

void SGD::encode(CommandBuffer& commandBuffer, const VectorArguments& a) const {
  encodeUpdate(*this, commandBuffer, a.inputGradientVector, a.inputValuesVector, a.inputMomentumVector,
               a.resultValuesVector);
}

void SGD::encode(CommandBuffer& commandBuffer, const MatrixArguments& a) const {
  encodeUpdate(*this, commandBuffer, a.inputGradientMatrix, a.inputValuesMatrix, a.inputMomentumMatrix,
               a.resultValuesMatrix);
}

SGD SGD::copy(const Device& device) const { return copyOf(*this, device); }

void SGD::visitSettings(detail::SettingsVisitor& visitor) {
  NNOptimizer::visitSettings(visitor);
  visitor.visit("momentumScale", momentumScale_);
  visitor.visit("useNesterovMomentum", useNesterovMomentum_);
  checkDecoded(kSGD, [&] { requireFinite(kSGD, "momentumScale", momentumScale_); });
}

// --- RMSProp ---------------------------------------------------------------------------------------------------------

NNOptimizerRMSProp::NNOptimizerRMSProp(const Device& device, float learningRate)
    : NNOptimizerRMSProp(device, {.optimizerDescriptor = {.learningRate = learningRate}}) {}

NNOptimizerRMSProp::NNOptimizerRMSProp(const Device& device, const Descriptor& descriptor)
    : NNOptimizer(device, kRMSProp, descriptor.optimizerDescriptor),
      decay_(descriptor.decay),
      epsilon_(descriptor.epsilon) {
  checkDecay(decay_);
  requireEpsilon(kRMSProp, epsilon_);
}

NNOptimizerRMSProp::NNOptimizerRMSProp(Unarchiver& coder, const Device& device)
    : NNOptimizerRMSProp(device, Descriptor()) {
  decode(coder);
}

void NNOptimizerRMSProp::encode(CommandBuffer& commandBuffer, const VectorArguments& a) const {
  encodeUpdate(*this, commandBuffer, a.inputGradientVector, a.inputValuesVector, a.inputSumOfSquaresVector,
               a.resultValuesVector);
}

void NNOptimizerRMSProp::encode(CommandBuffer& commandBuffer, const MatrixArguments& a) const {
  encodeUpdate(*this, commandBuffer, a.inputGradientMatrix, a.inputValuesMatrix, a.inputSumOfSquaresMatrix,
               a.resultValuesMatrix);
}

NNOptimizerRMSProp NNOptimizerRMSProp::copy(const Device& device) const { return copyOf(*this, device); }

void NNOptimizerRMSProp::visitSettings(detail::SettingsVisitor& visitor) {
  NNOptimizer::visitSettings(visitor);
  visitor.visit("decay", decay_);
  visitor.visit("epsilon", epsilon_);
  checkDecoded(kRMSProp, [&] {
    checkDecay(decay_);
    requireEpsilon(kRMSProp, epsilon_);
  });
}

// --- Adam ------------------------------------------------------------------------------------------------------------

NNOptimizerAdam::NNOptimizerAdam(const Device& device, float learningRate)
    : NNOptimizerAdam(device, {.optimizerDescriptor = {.learningRate = learningRate}}) {}

NNOptimizerAdam::NNOptimizerAdam(const Device& device, const Descriptor& descriptor)
    : NNOptimizer(device, kAdam, descriptor.optimizerDescriptor),
      timeStep(descriptor.timeStep),
      beta1_(descriptor.beta1),
      beta2_(descriptor.beta2),
      epsilon_(descriptor.epsilon) {
  checkBeta("beta1", beta1_);
  checkBeta("beta2", beta2_);
  requireEpsilon(kAdam, epsilon_);
}

NNOptimizerAdam::NNOptimizerAdam(Unarchiver& coder, const Device& device) : NNOptimizerAdam(device, Descriptor()) {
  decode(coder);
}

void NNOptimizerAdam::encode(CommandBuffer& commandBuffer, const VectorArguments& a) {
  encodeUpdate(*this, commandBuffer, a.inputGradientVector, a.inputValuesVector, a.inputMomentumVector,
               a.inputVelocityVector, a.maximumVelocityVector, a.resultValuesVector);
}

void NNOptimizerAdam::encode(CommandBuffer& commandBuffer, const MatrixArguments& a) {
  encodeUpdate(*this, commandBuffer, a.inputGradientMatrix, a.inputValuesMatrix, a.inputMomentumMatrix,
               a.inputVelocityMatrix, a.maximumVelocityMatrix, a.resultValuesMatrix);
}

NNOptimizerAdam NNOptimizerAdam::copy(const Device& device) const { return copyOf(*this, device); }

void NNOptimizerAdam::visitSettings(detail::SettingsVisitor& visitor) {
  NNOptimizer::visitSettings(visitor);
  visitor.visit("beta1", beta1_);
  visitor.visit("beta2", beta2_);
  visitor.visit("epsilon", epsilon_);
  visitor.visit("timeStep", timeStep);
  checkDecoded(kAdam, [&] {
    checkBeta("beta1", beta1_);
    checkBeta("beta2", beta2_);
    requireEpsilon(kAdam, epsilon_);
  });
}

}  // namespace metalloid
