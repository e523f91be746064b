// ImageCopy, ImageFill, NNReshape: bytes where the formats agree, else by way of float32.

#include "operations/image_copy.hpp"

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/image_copy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::ImageView;

constexpr std::size_t kElementsPerTask = std::size_t{32} << 10;

std::size_t tasksOf(std::size_t elements) { return std::clamp<std::size_t>(elements / kElementsPerTask, 1, 256); }

/// `count` elements from one place to another.
void copyElements(const std::byte* from, DataType fromType, std::byte* to, DataType toType, std::size_t count) {
  if (fromType == toType) {
    std::memcpy(to, from, count * sizeOfDataType(toType));
    return;
  }
  alignas(64) float values[kSegment];
  for (std::size_t i = 0; i < count; i += kSegment) {
    const std::size_t some = std::min(kSegment, count - i);
    toFloats(from + i * sizeOfDataType(fromType), fromType, some, values);
    fromFloats(values, some, toType, to + i * sizeOfDataType(toType));
  }
}

/// The elements of an image in the order [y][x][c], as the longest runs that lie together: all, rows, or pixels.
class Runs {
 public:
  explicit Runs(const ImageView& view) : view_(view) {
    const bool hasPackedRows = view.pixelBytes == view.channels * sizeOfDataType(view.type);
    runsPerRow_ = hasPackedRows ? 1 : std::max<std::size_t>(view.width, 1);
    length_ = view.isPacked() ? view.pixels() * view.channels : view.width * view.channels / runsPerRow_;
  }

  /// The first of `count` elements that lie together, at most `most`, from `element` of image n on.
  std::byte* find(std::size_t n, std::size_t element, std::size_t most, std::size_t& count) const {
    const std::size_t run = element / length_, within = element % length_;
    count = std::min(most, length_ - within);
    return view_.pixel(n, run / runsPerRow_, run % runsPerRow_) + within * sizeOfDataType(view_.type);
  }

 private:
  const ImageView& view_;
  std::size_t runsPerRow_;
  std::size_t length_;
};

/// Calls f(n, range of elements) for all elements of every image, cut for the threads.
template <class F>
void forEachPart(const ImageView& view, ThreadPool& pool, const F& f) {
  const std::size_t elements = view.pixels() * view.channels;
  if (elements == 0) return;
  const auto split = BlockSplit::inAtMost(tasksOf(elements), elements, 64);
  pool.parallelFor(view.images * split.count(),
                   [&](std::size_t index) { f(index / split.count(), split[index % split.count()]); });
}

void runReshape(const operations::NNReshape& operation, Context& context) {
  const Runs sources(operation.source), results(operation.result);
  forEachPart(operation.result, context.pool, [&](std::size_t n, BlockRange elements) {
    for (std::size_t i = elements.begin, count = 0; i < elements.end; i += count) {
      std::byte* const to = results.find(n, i, elements.end - i, count);
      const std::byte* const from = sources.find(n, i, count, count);
      copyElements(from, operation.source.type, to, operation.result.type, count);
    }
  });
}

void runFill(const operations::ImageFill& operation, Context& context) {
  const DataType type = operation.result.type;
  alignas(64) float values[kSegment];
  std::fill(values, values + kSegment, operation.value);
  alignas(64) std::byte pattern[kSegment * sizeof(float)];
  fromFloats(values, kSegment, type, pattern);
  const Runs results(operation.result);
  forEachPart(operation.result, context.pool, [&](std::size_t n, BlockRange elements) {
    for (std::size_t i = elements.begin, count = 0; i < elements.end; i += count) {
      std::byte* const to = results.find(n, i, std::min(kSegment, elements.end - i), count);
      std::memcpy(to, pattern, count * sizeOfDataType(type));
    }
  });
}

/// One row of the result: what stands left of the source, the source's own pixels, what stands right of it.
class RowCopy {
 public:
  explicit RowCopy(const operations::ImageCopy& operation)
      : operation_(operation),
        source_(operation.source),
        result_(operation.result),
        channels_(std::min(source_.channels, result_.channels)) {
    const auto column = [&](std::ptrdiff_t x) {
      return static_cast<std::size_t>(
          std::clamp<std::ptrdiff_t>(x - operation.offsetX, 0, static_cast<std::ptrdiff_t>(result_.width)));
    };
    begin_ = column(0);
    end_ = column(static_cast<std::ptrdiff_t>(source_.width));
    const auto isPacked = [&](const ImageView& view) {
      return view.pixelBytes == channels_ * sizeOfDataType(view.type);
    };
    isPacked_ = isPacked(source_) && isPacked(result_);
  }

  void run(std::size_t n, std::size_t y) const {
    const auto height = static_cast<std::ptrdiff_t>(source_.height);
    std::ptrdiff_t sourceY = static_cast<std::ptrdiff_t>(y) + operation_.offsetY;
    const bool clamps = operation_.edgeMode == ImageEdgeMode::clamp;
    if (clamps) sourceY = std::clamp<std::ptrdiff_t>(sourceY, 0, height - 1);
    if (sourceY < 0 || sourceY >= height) {
      clear(n, y, 0, result_.width);
      return;
    }
    const auto from = static_cast<std::size_t>(sourceY);
    if (clamps) {
      repeat(n, y, 0, begin_, source_.pixel(n, from, 0));
      repeat(n, y, end_, result_.width, source_.pixel(n, from, source_.width - 1));
    } else {
      clear(n, y, 0, begin_);
      clear(n, y, end_, result_.width);
    }
    if (begin_ < end_) {
      const auto first = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(begin_) + operation_.offsetX);
      copy(n, y, source_.pixel(n, from, first));
    }
  }

 private:
  void copyPixel(const std::byte* from, std::byte* to) const {
    const std::size_t size = sizeOfDataType(result_.type);
    copyElements(from, source_.type, to, result_.type, channels_);
    std::memset(to + channels_ * size, 0, (result_.channels - channels_) * size);
  }
  void copy(std::size_t n, std::size_t y, const std::byte* from) const {
    std::byte* const to = result_.pixel(n, y, begin_);
    if (isPacked_) {
      copyElements(from, source_.type, to, result_.type, (end_ - begin_) * channels_);
      return;
    }
    for (std::size_t x = 0; x < end_ - begin_; ++x)
      copyPixel(from + x * source_.pixelBytes, to + x * result_.pixelBytes);
  }
  void repeat(std::size_t n, std::size_t y, std::size_t begin, std::size_t end, const std::byte* from) const {
    for (std::size_t x = begin; x < end; ++x) copyPixel(from, result_.pixel(n, y, x));
  }
  void clear(std::size_t n, std::size_t y, std::size_t begin, std::size_t end) const {
    for (std::size_t x = begin; x < end; ++x)
      std::memset(result_.pixel(n, y, x), 0, result_.channels * sizeOfDataType(result_.type));
  }

  const operations::ImageCopy& operation_;
  const ImageView& source_;
  const ImageView& result_;
  std::size_t channels_;             // that both have
  std::size_t begin_ = 0, end_ = 0;  // columns of the result that stand on the source
  bool isPacked_ = false;
};

void runCopy(const operations::ImageCopy& operation, Context& context) {
  const RowCopy rows(operation);
  const auto& result = operation.result;
  const std::size_t count = result.images * result.height;
  const auto split = BlockSplit::inAtMost(tasksOf(count * result.width * result.channels), count);
  context.pool.parallelForBlocks(split, [&](BlockRange range) {
    for (std::size_t i = range.begin; i < range.end; ++i) rows.run(i / result.height, i % result.height);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runCopy);
HWY_EXPORT(runFill);
HWY_EXPORT(runReshape);

void runSimd(const operations::ImageCopy& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runCopy)(operation, context);
}
void runSimd(const operations::ImageFill& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runFill)(operation, context);
}
void runSimd(const operations::NNReshape& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runReshape)(operation, context);
}

}  // namespace metalloid::cpu
#endif
