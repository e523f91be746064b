#pragma once

#include "operations/copy.hpp"

#include <vector>

namespace metalloid::backends {

/// The operation's items with the offsets that hold at execution, after checking what encoding could not: every region
/// lies in its matrix and every index of a permutation leads into every destination. A back end that runs on the host
/// calls this before it writes anything; others give the same messages.
/// @throws Error (invalidArgument) naming the first that does not fit, with its limits.
std::vector<operations::MatrixCopy::Item> checkedItems(const operations::MatrixCopy& operation);

}  // namespace metalloid::backends
