#pragma once

#include "graph/plan.hpp"

namespace metalloid::detail {

/// Simplifies a plan: neurons become part of the convolution or batch normalization before them (and so do their
/// gradients), concatenations are written in place, gradients that are copies refer to what they would copy. What stood
/// in the way is noted.
void fuse(Plan& plan);

}  // namespace metalloid::detail
