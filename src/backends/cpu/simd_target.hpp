#pragma once

#include <string>

namespace metalloid::cpu {

/// The instruction set that the SIMD kernels use on this processor, by its usual name.
std::string simdTargetName();

}  // namespace metalloid::cpu
