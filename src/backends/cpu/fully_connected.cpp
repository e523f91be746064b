#include "operations/fully_connected.hpp"

#include "backends/cpu/columns.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/gemm_operands.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {

void runGemm(const operations::MatrixFullyConnected& operation, Context& context) {
  for (std::size_t n = 0; n < operation.input.matrices; ++n) {
    const math::Neuron& neuron = operation.neuron;
    Gemm product =
        gemmOf(operation.input.matrix(n), false, operation.weights.matrix(n), false, operation.result.matrix(n));
    product.alpha = static_cast<float>(operation.alpha);
    product.bias = floatVector(operation.bias.vector(n), context.scratch);
    if (neuron.type != CNNNeuronType::none) {
      product.epilogue.context = &neuron;
      product.epilogue.call = [](const void* function, float* values, std::size_t, std::size_t, std::size_t count) {
        applyNeuron(*static_cast<const math::Neuron*>(function), values, count);
      };
    }
    gemm(context.pool, product);
  }
}

void runGemm(const operations::MatrixFullyConnectedGradientForData& operation, Context& context) {
  for (std::size_t n = 0; n < operation.gradient.matrices; ++n) {
    Gemm product =
        gemmOf(operation.gradient.matrix(n), false, operation.weights.matrix(n), true, operation.result.matrix(n));
    product.alpha = static_cast<float>(operation.alpha);
    gemm(context.pool, product);
  }
}

void runGemm(const operations::MatrixFullyConnectedGradientForWeightsAndBias& operation, Context& context) {
  for (std::size_t n = 0; n < operation.gradient.matrices; ++n) {
    const auto gradient = operation.gradient.matrix(n);
    Gemm product = gemmOf(operation.input.matrix(n), true, gradient, false, operation.resultForWeights.matrix(n));
    product.alpha = static_cast<float>(operation.alpha);
    gemm(context.pool, product);
    // The product has just read the gradient, so that its sums mostly come from the cache.
    if (operation.resultForBias) sumColumns(gradient, operation.resultForBias.vector(n), context);
  }
}

}  // namespace metalloid::cpu
