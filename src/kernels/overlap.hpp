#pragma once

#include "operations/views.hpp"

namespace metalloid::detail {

/// Whether the two regions share a byte. Regions that interleave without sharing one, such as two column ranges of one
/// matrix, do not.
bool overlap(const operations::MatrixView& a, const operations::MatrixView& b);

}  // namespace metalloid::detail
