#pragma once

#include "graph/plan.hpp"

#include <string>

namespace metalloid::detail {

/// Simplifies a plan: neurons become part of the convolution or batch normalization before them (and so do their
/// gradients), concatenations are written in place, gradients that are copies refer to what they would copy. What stood
/// in the way is noted.
void fuse(Plan& plan);

/// Why the sources of a concatenation cannot write their channels of its result themselves; empty when they can.
std::string whatForbidsWritingInPlace(const Plan& plan, const PlannedStep& concatenation);
/// They do from now on.
void writeInPlace(Plan& plan, PlannedStep& concatenation);

}  // namespace metalloid::detail
