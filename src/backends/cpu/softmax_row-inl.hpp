// A row of a matrix as a whole, its maximum, and its exponentials: what the soft-max kernels share.

#if defined(METALLOID_CPU_SOFTMAX_ROW_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_SOFTMAX_ROW_INL
#undef METALLOID_CPU_SOFTMAX_ROW_INL
#else
#define METALLOID_CPU_SOFTMAX_ROW_INL
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include <hwy/highway.h>

#include "backends/cpu/rows-inl.hpp"
#include "math/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

using MathOps = math::HWY_NAMESPACE::VectorOps<FloatTag>;

/// Rows that one thread takes at a time.
HWY_INLINE BlockSplit rowBlocks(std::size_t rows, std::size_t columns) {
  constexpr std::size_t kElements = 4096;  // a few microseconds
  return {rows, std::max<std::size_t>(1, kElements / std::max<std::size_t>(1, columns))};
}

inline constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

/// The first `count` lanes of x, and `other` in the rest.
HWY_INLINE FloatVector restricted(FloatVector x, std::size_t count, float other) {
  const FloatTag d;
  return hn::IfThenElse(hn::FirstN(d, count), x, hn::Set(d, other));
}

HWY_INLINE float rowMaximum(const float* x, std::size_t count) {
  const FloatTag d;
  auto maximum = hn::Set(d, kNegativeInfinity);
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    maximum = hn::Max(maximum, restricted(loadSome(x + j, n), n, kNegativeInfinity));
  });
  return hn::GetLane(hn::MaxOfLanes(d, maximum));
}

/// Sums up in float32 a vector at a time, and in double over the vector's lanes.
class RowSum {
 public:
  HWY_INLINE RowSum() : sum_(hn::Zero(FloatTag())) {}  // not left to the compiler, which forgets the instruction set
  HWY_INLINE void add(FloatVector x, std::size_t count) { sum_ = hn::Add(sum_, restricted(x, count, 0)); }
  HWY_INLINE double total() const {
    const FloatTag d;
    float lanes[hn::MaxLanes(FloatTag())];
    hn::StoreU(sum_, d, lanes);
    double total = 0;
    for (std::size_t lane = 0; lane < hn::Lanes(d); ++lane) total += static_cast<double>(lanes[lane]);
    return total;
  }

 private:
  FloatVector sum_;
};

/// y = exp(x - maximum), and the sum of y. A row of -infinity alone gives NaN, as -infinity - -infinity does.
HWY_INLINE double exponentials(const float* x, float maximum, float* y, std::size_t count) {
  const FloatTag d;
  const MathOps ops;
  RowSum sum;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto e = ops.exp(hn::Sub(loadSome(x + j, n), hn::Set(d, maximum)));
    sum.add(e, n);
    storeSome(e, y + j, n);
  });
  return sum.total();
}

/// A row of any length and type as float32.
class WholeRow {
 public:
  WholeRow(const operations::MatrixView& view, float* buffer) : view_(view), buffer_(buffer) {}

  const float* read(std::size_t i) const {
    if (view_.type == DataType::float32) return reinterpret_cast<const float*>(view_.row(i));
    toFloats(view_.row(i), view_.type, view_.columns, buffer_);
    return buffer_;
  }
  float* place(std::size_t i) const {
    return view_.type == DataType::float32 ? reinterpret_cast<float*>(view_.row(i)) : buffer_;
  }
  void finish(std::size_t i) const {
    if (view_.type != DataType::float32) fromFloats(buffer_, view_.columns, view_.type, view_.row(i));
  }

 private:
  const operations::MatrixView& view_;
  float* buffer_;
};

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
