#pragma once

#include "backends/cuda/context.hpp"
#include "math/neuron.hpp"
#include "operations/views.hpp"

namespace metalloid::cuda {

/// What every product comes down to: result = f(alpha * op(left) * op(right) + bias + beta * result).
struct Product {
  operations::MatrixView left;   // [M, K], stored [K, M] when transposed
  operations::MatrixView right;  // [K, N], stored [N, K] when transposed
  operations::MatrixView result;
  operations::VectorView bias = {};
  bool transposeLeft = false;
  bool transposeRight = false;
  double alpha = 1;
  double beta = 0;
  math::Neuron neuron = {};
  bool allowReducedPrecision = false;
};

/// Why cuBLASLt cannot compute a product; nullptr: it can.
const char* refusesLibraryProduct(const Product& product);

void runLibraryProduct(const Product& product, Context& context);
void runPlainProduct(const Product& product, Context& context);

/// Why the tensor cores do not compute a product of float32 in split precision; nullptr: they do.
const char* refusesSplitProduct(const Product& product, const Context& context);

void runSplitProduct(const Product& product, Context& context);

/// Why a product of float32 is not one of a layer with few outputs: [M, K] [K, N], [K, M]ᵀ [K, N] or [M, N] [K, N]ᵀ
/// with N up to 16; nullptr: it is.
const char* refusesNarrowProduct(const Product& product);

void runNarrowProduct(const Product& product, Context& context);

/// The one that is faster; for those who need a product among other things.
inline void runProduct(const Product& product, Context& context) {
  if (!refusesSplitProduct(product, context)) return runSplitProduct(product, context);
  if (!refusesNarrowProduct(product)) return runNarrowProduct(product, context);
  runLibraryProduct(product, context);
}

/// What queues keep of cuBLASLt: the handle, the workspace, and the algorithm of every shape seen.
std::shared_ptr<Products> makeProducts();

}  // namespace metalloid::cuda
