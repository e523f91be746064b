#pragma once

#include "operations/operation.hpp"

#include <string>

namespace metalloid::operations {

/// Sizes and types on one line, for explanations: "128 x 784 times 784 x 512, float32".
std::string describe(const Operation& operation);

}  // namespace metalloid::operations
