// The kernels of the matrices do the work: a row for each pixel.

#include "operations/cnn_softmax.hpp"

#include "backends/cpu/image_matrices.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {

void runSimd(const operations::CNNSoftMax& operation, Context& context) {
  forEachMatrix(
      [&](const operations::MatrixView& source, const operations::MatrixView& result) {
        runSimd(operations::MatrixSoftMax{.input = source, .result = result, .logarithm = operation.isLogarithm},
                context);
      },
      operation.source, operation.result);
}

void runSimd(const operations::CNNSoftMaxGradient& operation, Context& context) {
  forEachMatrix(
      [&](const operations::MatrixView& gradient, const operations::MatrixView& forwardResult,
          const operations::MatrixView& result) {
        runSimd(operations::MatrixSoftMaxGradient{.gradient = gradient,
                                                  .forwardOutput = forwardResult,
                                                  .result = result,
                                                  .logarithm = operation.isLogarithm},
                context);
      },
      operation.gradient, operation.forwardResult, operation.result);
}

}  // namespace metalloid::cpu
