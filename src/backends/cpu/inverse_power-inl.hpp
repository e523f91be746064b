// x^(-beta) on vectors: by square roots where they do.

#if defined(METALLOID_CPU_INVERSE_POWER_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_INVERSE_POWER_INL
#undef METALLOID_CPU_INVERSE_POWER_INL
#else
#define METALLOID_CPU_INVERSE_POWER_INL
#endif

#include "backends/cpu/elements-inl.hpp"
#include "math/neuron.hpp"
#include "math/vector_math-inl.h"

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

struct InverseSquareRoot {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return hn::Div(hn::Set(FloatTag(), 1.0F), hn::Sqrt(x)); }
};

struct InverseThreeQuarters {
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const auto root = hn::Div(hn::Set(FloatTag(), 1.0F), hn::Sqrt(x));
    return hn::Mul(root, hn::Sqrt(root));
  }
};

struct AnyInversePower {
  math::PowerExponent exponent;

  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const math::HWY_NAMESPACE::VectorOps<FloatTag> ops;
    return ops.pow(x, exponent);
  }
};

/// Calls f with the function x^(-beta).
template <class F>
HWY_INLINE void withInversePower(float beta, const F& f) {
  if (beta == 0.5F) {
    f(InverseSquareRoot());
  } else if (beta == 0.75F) {
    f(InverseThreeQuarters());
  } else {
    f(AnyInversePower{math::makeNeuron(CNNNeuronType::power, 1, 0, -beta).power});
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
