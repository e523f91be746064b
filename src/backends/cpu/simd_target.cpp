#include "backends/cpu/simd_target.hpp"

#include <cstdint>

#include <hwy/highway.h>

namespace metalloid::cpu {

std::string simdTargetName() {
  // Better targets have lower bits; only those count for which the kernels are compiled.
  const std::int64_t usable = static_cast<std::int64_t>(hwy::SupportedTargets()) & HWY_TARGETS;
  const std::int64_t best = usable & -usable;
  switch (best) {
    case HWY_AVX3_DL:
    case HWY_AVX3:
      return "AVX-512";
    case HWY_AVX2:
      return "AVX2";
    case HWY_SSE4:
      return "SSE4";
    default:
      return hwy::TargetName(best);
  }
}

}  // namespace metalloid::cpu
