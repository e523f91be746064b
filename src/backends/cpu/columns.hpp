#pragma once

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/scratch.hpp"
#include "operations/views.hpp"

namespace metalloid::cpu {

/// A vector operand as float32 for the whole operation; null when it was not given.
const float* floatVector(const operations::VectorView& vector, Scratch& scratch);
/// Writes a result in the vector's type, where it is wanted.
void storeVector(const float* values, const operations::VectorView& vector);

/// result[j] = sum over i of matrix[i, j]
void sumColumns(const operations::MatrixView& matrix, const operations::VectorView& result, Context& context);

}  // namespace metalloid::cpu
