#include "operations/cnn_neuron.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNNeuron;
using operations::CNNNeuronGradient;

void runPlain(const CNNNeuron& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const VectorView slopes = o.slopes;
  const math::Neuron neuron = o.neuron;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto slope = static_cast<float>(atOr(slopes, 0, c, 0));
    const float value = neuronValue(neuron, static_cast<float>(at(source, n, y, x, c)), slope);
    set(result, n, y, x, c, static_cast<double>(value));
  });
}

void runGradientPlain(const CNNNeuronGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), source = imagesOf(o.source, context);
  const Images result = imagesOf(o.result, context);
  const VectorView slopes = o.slopes;
  const math::Neuron neuron = o.neuron;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto slope = static_cast<float>(atOr(slopes, 0, c, 0));
    const float derivative = neuronDerivative(neuron, static_cast<float>(at(source, n, y, x, c)), slope);
    set(result, n, y, x, c, at(gradient, n, y, x, c) * static_cast<double>(derivative));
  });
}

}  // namespace

void run(const CNNNeuron& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNNeuron, runPlain>, operation, context, explainer);
}

void run(const CNNNeuronGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNNeuronGradient, runGradientPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
