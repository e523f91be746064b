// CNNArithmetic: one pass over memory. CNNArithmeticGradient: the same, or sums where an operand was broadcast.

#include "operations/cnn_arithmetic.hpp"

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_arithmetic.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/image_reduction-inl.hpp"
#include "backends/cpu/image_segments-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::ArithmeticType;
using operations::Broadcast;
using operations::CNNArithmetic;
using operations::CNNArithmeticGradient;
using operations::ImageView;

constexpr std::size_t kMostOperands = 4;

/// An operand, its steps along x and y, and whether it is given.
struct Operand {
  ImageView* view;
  Broadcast stride;
};

/// Takes rows together to one, and images to one, where all operands go on evenly: short rows cost more than long ones.
void takeTogether(const std::array<Operand, kMostOperands>& operands) {
  const auto all = [&](auto&& test) {
    return std::all_of(operands.begin(), operands.end(),
                       [&](const Operand& o) { return !o.view || !*o.view || test(*o.view, o.stride); });
  };
  const auto each = [&](auto&& change) {
    for (const Operand& o : operands) {
      if (o.view && *o.view && o.stride.x != 0) change(*o.view);
    }
  };
  const bool haveEvenRows = all([](const ImageView& view, const Broadcast& stride) {
    if (stride.x != stride.y) return false;
    return stride.x == 0 || view.height <= 1 || view.rowBytes == view.width * view.pixelBytes;
  });
  if (!haveEvenRows) return;
  each([](ImageView& view) {
    view.width *= view.height;
    view.rowBytes *= view.height;
    view.height = 1;
  });
  const bool haveEvenImages = all([](const ImageView& view, const Broadcast& stride) {
    return stride.x != 0 &&
           (view.images <= 1 || (view.addresses.empty() && view.imageBytes == view.width * view.pixelBytes));
  });
  if (!haveEvenImages) return;
  each([](ImageView& view) {
    view.width *= view.images;
    view.images = 1;
  });
}

template <ArithmeticType kType>
HWY_INLINE FloatVector combined(FloatVector primary, FloatVector secondary) {
  if constexpr (kType == ArithmeticType::add) return hn::Add(primary, secondary);
  if constexpr (kType == ArithmeticType::subtract) return hn::Sub(primary, secondary);
  if constexpr (kType == ArithmeticType::multiply) return hn::Mul(primary, secondary);
  if constexpr (kType == ArithmeticType::divide) return hn::Div(primary, secondary);
}

/// A byte 0 or 1 for each of `count` lanes.
HWY_INLINE void storeMask(hn::Mask<FloatTag> mask, std::byte* to, std::size_t count) {
  const FloatTag d;
  const hn::Rebind<std::int32_t, FloatTag> dWide;
  const hn::Rebind<std::uint8_t, FloatTag> dBytes;
  const auto bytes = hn::DemoteTo(dBytes, hn::ConvertTo(dWide, hn::IfThenElseZero(mask, hn::Set(d, 1.0F))));
  if (hn::MaxLanes(d) == 1 || count == hn::Lanes(d)) {
    hn::StoreU(bytes, dBytes, reinterpret_cast<std::uint8_t*>(to));
  } else {
    std::uint8_t some[hn::MaxLanes(FloatTag())];
    hn::StoreU(bytes, dBytes, some);
    std::memcpy(to, some, count);
  }
}

template <ArithmeticType kType>
void arithmeticSegment(const CNNArithmetic& operation, const float* primary, const float* secondary, std::byte* mask,
                       float* result, std::size_t count) {
  const FloatTag d;
  const auto primaryScale = hn::Set(d, operation.primaryScale), secondaryScale = hn::Set(d, operation.secondaryScale);
  const auto bias = hn::Set(d, operation.bias);
  const auto minimum = hn::Set(d, operation.minimumValue), maximum = hn::Set(d, operation.maximumValue);
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto value = hn::Add(combined<kType>(hn::Mul(primaryScale, loadSome(primary + j, n)),
                                               hn::Mul(secondaryScale, loadSome(secondary + j, n))),
                               bias);
    if (mask) storeMask(hn::And(hn::Lt(minimum, value), hn::Lt(value, maximum)), mask + j, n);
    // Comparisons, so that a NaN stays one.
    const auto above = hn::IfThenElse(hn::Lt(value, minimum), minimum, value);
    storeSome(hn::IfThenElse(hn::Gt(above, maximum), maximum, above), result + j, n);
  });
}

template <ArithmeticType kType>
void runArithmeticOf(const CNNArithmetic& operation, Context& context) {
  const Segments segments(operation.result);
  context.pool.parallelForBlocks(BlockSplit(segments.count(), kSegmentsPerTask), [&](BlockRange range) {
    SegmentReader primary(operation.primary, operation.primaryStride);
    SegmentReader secondary(operation.secondary, operation.secondaryStride);
    SegmentWriter result(operation.result);
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const Segment s = segments[i];
      arithmeticSegment<kType>(operation, primary.read(s), secondary.read(s),
                               operation.mask ? maskAt(operation.mask, s) : nullptr, result.begin(s), s.count());
      result.finish(s);
    }
  });
}

void runArithmetic(const CNNArithmetic& given, Context& context) {
  CNNArithmetic operation = given;
  takeTogether({Operand{&operation.primary, operation.primaryStride},
                Operand{&operation.secondary, operation.secondaryStride}, Operand{&operation.result, {}},
                Operand{&operation.mask, {}}});
  switch (operation.type) {
    case ArithmeticType::add:
      return runArithmeticOf<ArithmeticType::add>(operation, context);
    case ArithmeticType::subtract:
      return runArithmeticOf<ArithmeticType::subtract>(operation, context);
    case ArithmeticType::multiply:
      return runArithmeticOf<ArithmeticType::multiply>(operation, context);
    case ArithmeticType::divide:
      return runArithmeticOf<ArithmeticType::divide>(operation, context);
  }
}

/// scale * gradient [* other] where the mask lets it through.
class GradientProducer {
 public:
  GradientProducer(const CNNArithmeticGradient& operation, float scale)
      : operation_(operation),
        scale_(scale),
        gradient_(operation.gradient),
        other_(operation.other, operation.otherStride) {}

  void produce(const Segment& s, float* to) {
    const FloatTag d;
    const std::size_t count = s.count();
    const float* const gradient = gradient_.read(s);
    const auto scale = hn::Set(d, scale_);
    if (operation_.other) {
      const float* const other = other_.read(s);
      forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
        const auto product = hn::Mul(loadSome(gradient + j, n), loadSome(other + j, n));
        storeSome(hn::Mul(scale, product), to + j, n);
      });
    } else {
      forEachVector(count, [&](std::size_t j, std::size_t n)
                               HWY_ATTR { storeSome(hn::Mul(scale, loadSome(gradient + j, n)), to + j, n); });
    }
    if (!operation_.mask) return;
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(maskAt(operation_.mask, s));
    forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      const auto through =
          hn::MaxLanes(d) == 1 || n == hn::Lanes(d) ? loadFloats(d, bytes + j) : loadFloats(d, bytes + j, n);
      storeSome(hn::IfThenZeroElse(hn::Eq(through, hn::Zero(d)), loadSome(to + j, n)), to + j, n);
    });
  }

  const float* operator()(const Segment& s) {
    // The bare gradient is summed where it lies.
    if (!operation_.other && !operation_.mask && scale_ == 1) return gradient_.read(s);
    produce(s, values_);
    return values_;
  }

 private:
  const CNNArithmeticGradient& operation_;
  float scale_;
  SegmentReader gradient_;
  SegmentReader other_;
  alignas(64) float values_[kSegment];
};

void runGradientElements(const CNNArithmeticGradient& operation, Context& context) {
  const Segments segments(operation.result);
  context.pool.parallelForBlocks(BlockSplit(segments.count(), kSegmentsPerTask), [&](BlockRange range) {
    GradientProducer gradient(operation, operation.scale);
    SegmentWriter result(operation.result);
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const Segment s = segments[i];
      gradient.produce(s, result.begin(s));
      result.finish(s);
    }
  });
}

void runGradient(const CNNArithmeticGradient& given, Context& context) {
  const Broadcast& stride = given.resultStride;
  if (stride == Broadcast()) {
    CNNArithmeticGradient operation = given;
    takeTogether({Operand{&operation.gradient, {}}, Operand{&operation.other, operation.otherStride},
                  Operand{&operation.result, {}}, Operand{&operation.mask, {}}});
    return runGradientElements(operation, context);
  }
  const auto scale = [&](float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) values[i] *= given.scale;
  };
  reduceImages<SumOfValues>(
      given.gradient, {stride.x == 0, stride.y == 0, stride.channels == 0}, given.result,
      [&] { return GradientProducer(given, 1); }, scale, context);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runArithmetic);
HWY_EXPORT(runGradient);

void runSimd(const operations::CNNArithmetic& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runArithmetic)(operation, context);
}
void runSimd(const operations::CNNArithmeticGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
