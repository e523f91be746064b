#include "operations/describe.hpp"

#include "core/format.hpp"

namespace metalloid::operations {
namespace {

std::string text(const MatrixView& view) {
  const std::string one = fmt::format("{} x {}", view.rows, view.columns);
  return view.matrices == 1 ? one : fmt::format("{} of {}", view.matrices, one);
}

std::string typed(const MatrixView& view) { return fmt::format("{} {}", text(view), name(view.type)); }

std::string product(const MatrixView& a, const MatrixView& b) {
  return fmt::format("{} times {} {}", text(a), text(b), name(a.type));
}

std::string shape(const MatrixFullyConnected& o) { return product(o.input, o.weights); }
std::string shape(const MatrixFullyConnectedGradientForData& o) { return product(o.gradient, o.weights); }
std::string shape(const MatrixFullyConnectedGradientForWeightsAndBias& o) { return product(o.input, o.gradient); }
std::string shape(const MatrixNeuron& o) { return fmt::format("{} {}", typed(o.input), name(o.neuron.type)); }
std::string shape(const MatrixNeuronGradient& o) { return fmt::format("{} {}", typed(o.input), name(o.neuron.type)); }
std::string shape(const MatrixBatchNormalization& o) {
  return fmt::format("{} {}", typed(o.input), name(o.neuron.type));
}
std::string shape(const MatrixBatchNormalizationGradient& o) {
  return fmt::format("{} {}", typed(o.input), name(o.neuron.type));
}
std::string shape(const MatrixSoftMax& o) { return typed(o.input); }
std::string shape(const MatrixSoftMaxGradient& o) { return typed(o.gradient); }
std::string shape(const MatrixSoftMaxCrossEntropy& o) { return typed(o.input); }
std::string shape(const MatrixMultiplication& o) { return product(o.left, o.right); }
std::string shape(const MatrixVectorMultiplication& o) { return typed(o.matrix); }
std::string shape(const MatrixSum& o) { return fmt::format("{} sources, {}", o.sources.size(), typed(o.result)); }
std::string shape(const MatrixCopy& o) {
  return fmt::format("{} copies of {} x {}", o.items.size(), o.rows, o.columns);
}
std::string shape(const MatrixFindTopK& o) { return fmt::format("{} of {}", o.k, typed(o.input)); }
std::string shape(const MatrixRandom& o) { return typed(o.result); }
std::string shape(const OptimizerStochasticGradientDescent& o) { return typed(o.operands.values); }
std::string shape(const OptimizerRMSProp& o) { return typed(o.operands.values); }
std::string shape(const OptimizerAdam& o) { return typed(o.operands.values); }

std::string text(const ImageView& view) {
  return fmt::format("{} of {} x {} x {} {}", view.images, view.height, view.width, view.channels, name(view.type));
}

/// Image kernels are told by what they read and write.
template <class O>
std::string shape(const O& o) {
  std::string words;
  const auto add = [&](const ImageView& view) {
    if (!view) return;
    if (!words.empty()) words += " to ";
    words += text(view);
  };
  if constexpr (requires { o.primary; }) {
    add(o.primary);
  } else if constexpr (requires { o.source; }) {
    add(o.source);
  } else if constexpr (requires { o.gradient; }) {
    add(o.gradient);
  }
  if constexpr (requires { o.result; }) add(o.result);
  if constexpr (requires { o.window; }) words += fmt::format(", {} x {} taps", o.window.y.taps, o.window.x.taps);
  return words;
}

}  // namespace

std::string describe(const Operation& operation) {
  return std::visit([](const auto& o) { return shape(o); }, operation);
}

}  // namespace metalloid::operations
