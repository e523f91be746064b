#pragma once

#include "backends/cuda/context.hpp"
#include "operations/views.hpp"

namespace metalloid::cuda {

/// result (+)= the sums of the columns of a matrix with a row for each pixel, as a bias's gradient is: many rows of few
/// columns. One launch.
/// @returns false, and does nothing, where the matrix is not of float32 or has too many columns.
bool sumPixels(const operations::MatrixView& pixels, const operations::VectorView& result, bool accumulates,
               Context& context);

}  // namespace metalloid::cuda
