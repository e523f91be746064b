#pragma once

#include "backends/cuda/context.hpp"
#include "operations/views.hpp"

namespace metalloid::cuda {

/// result = the sums of the matrix's columns.
void sumColumns(const operations::MatrixView& matrix, const operations::VectorView& result, Context& context);

}  // namespace metalloid::cuda
