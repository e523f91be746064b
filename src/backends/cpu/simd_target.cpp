#include "backends/cpu/simd_target.hpp"

#include <hwy/targets.h>

namespace metalloid::cpu {

std::string simdTargetName() {
  const auto supported = static_cast<std::int64_t>(hwy::SupportedTargets());
  const std::int64_t best = supported & -supported;  // better targets have lower bits
  return hwy::TargetName(best);
}

}  // namespace metalloid::cpu
