#include "operations/cnn_neuron.hpp"

#include "backends/cuda/flat_images.cuh"
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

// --- Sixteen bytes at a time
// --------------------------------------------------------------------------------------------

/// The neuron of a flat kernel: a ReLU, or one that is chosen at run time.
template <bool kIsReLU>
struct FlatValue {
  math::Neuron neuron;

  __device__ float operator()(const float (&x)[1]) const {
    if constexpr (!kIsReLU) return neuronValue(neuron, x[0], 0);
    return math::scalar::neuronValue<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, x[0], 0);
  }
};

template <bool kIsReLU>
struct FlatGradient {
  math::Neuron neuron;

  __device__ float operator()(const float (&x)[2]) const {
    if constexpr (!kIsReLU) return x[0] * neuronDerivative(neuron, x[1], 0);
    return x[0] * math::scalar::neuronDerivative<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, x[1], 0);
  }
};

constexpr const char* kNeedsSlopes = "each channel has a slope of its own";

const char* refusesFlatValue(const CNNNeuron& o, const Context&) {
  return o.slopes ? kNeedsSlopes : refusesFlat({&o.source, &o.result});
}

const char* refusesFlatGradient(const CNNNeuronGradient& o, const Context&) {
  return o.slopes ? kNeedsSlopes : refusesFlat({&o.gradient, &o.source, &o.result});
}

/// visitor(element of the type, Body for the neuron)
template <template <bool> class Body, class Visitor>
void dispatchFlat(DataType type, const math::Neuron& neuron, const Visitor& visitor) {
  const auto withNeuron = [&](auto element) {
    if (neuron.type == CNNNeuronType::reLU) {
      visitor(element, Body<true>{neuron});
    } else {
      visitor(element, Body<false>{neuron});
    }
  };
  if (type == DataType::float16) {
    withNeuron(__half{});
  } else {
    withNeuron(float{});
  }
}

void runFlat(const CNNNeuron& o, Context& context) {
  dispatchFlat<FlatValue>(o.source.type, o.neuron, [&]<class T>(T, const auto& body) {
    launchFlat<T, 1>({&o.source}, o.result, body, context);
  });
}

void runFlatGradient(const CNNNeuronGradient& o, Context& context) {
  dispatchFlat<FlatGradient>(o.source.type, o.neuron, [&]<class T>(T, const auto& body) {
    launchFlat<T, 2>({&o.gradient, &o.source}, o.result, body, context);
  });
}

constexpr std::array<Candidate<CNNNeuron>, 2> kCandidates = {
    {{"16 bytes at a time", refusesFlatValue, runFlat}, {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<CNNNeuronGradient>, 2> kGradientCandidates = {
    {{"16 bytes at a time", refusesFlatGradient, runFlatGradient}, {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const CNNNeuron& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const CNNNeuronGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
