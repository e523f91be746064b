#pragma once

#include "backends/cuda/products.hpp"
#include "backends/cuda/split_factor.cuh"

/// Products of float32 on tensor cores, with the accuracy of float32: see split_kernel.cuh.
namespace metalloid::cuda {

/// result = alpha * left * rightᵀ + bias, for each row of the left and each row of the right factor.
struct SplitProduct {
  SplitFactor left;
  SplitFactor right;
  MatrixView result;
  bool isResultTurned = false;       // a row of the result belongs to a row of the right factor
  operations::VectorView bias = {};  // an element for each column of the result
  double alpha = 1;
  std::byte* slices = nullptr;  // the sums of slices of the terms, before they are added up
  bool areSlicesExact = false;  // double, as rounding them would show in the result; otherwise float

  /// Of each row of the slices: an even number.
  __host__ __device__ std::size_t sliceColumns() const { return (right.rows + 1) / 2 * 2; }
};

/// Why this device computes none; nullptr: it does.
const char* refusesSplitProducts(const Context& context);

/// Whether it is expected to be faster than something else, or wanted anyway.
bool isSplitFaster(const SplitProduct& product, double otherMicroseconds, const Context& context);

/// What memory moves in a microsecond, on an H200.
constexpr double kBytesOfMicrosecond = 3e6;

/// What a plain product is expected to take.
inline double plainMicroseconds(std::size_t rows, std::size_t columns, std::size_t terms) {
  constexpr double kOperations = 48e6, kLaunch = 5;  // a microsecond, and microseconds, on an H200
  return kLaunch +
         2 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(terms) / kOperations;
}

void runSplitProduct(const SplitProduct& product, Context& context);

}  // namespace metalloid::cuda
