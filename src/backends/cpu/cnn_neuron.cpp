// The kernels of the matrices do the work: one pass over memory.

#include "operations/cnn_neuron.hpp"

#include "backends/cpu/image_matrices.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {

void runSimd(const operations::CNNNeuron& operation, Context& context) {
  forEachMatrix(
      [&](const operations::MatrixView& source, const operations::MatrixView& result) {
        const bool flat = !operation.slopes && isPacked(source) && isPacked(result);
        runSimd(operations::MatrixNeuron{.input = flattened(source, flat),
                                         .bias = {},
                                         .slopes = operation.slopes,
                                         .result = flattened(result, flat),
                                         .neuron = operation.neuron},
                context);
      },
      operation.source, operation.result);
}

void runSimd(const operations::CNNNeuronGradient& operation, Context& context) {
  forEachMatrix(
      [&](const operations::MatrixView& gradient, const operations::MatrixView& source,
          const operations::MatrixView& result) {
        const bool flat = !operation.slopes && isPacked(gradient) && isPacked(source) && isPacked(result);
        runSimd(operations::MatrixNeuronGradient{.gradient = flattened(gradient, flat),
                                                 .input = flattened(source, flat),
                                                 .bias = {},
                                                 .slopes = operation.slopes,
                                                 .resultForData = flattened(result, flat),
                                                 .resultForBias = {},
                                                 .neuron = operation.neuron},
                context);
      },
      operation.gradient, operation.source, operation.result);
}

}  // namespace metalloid::cpu
