// Rows of a matrix as float32, whatever the matrix stores: the kernels see only these.

#if defined(METALLOID_CPU_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_ROWS_INL
#undef METALLOID_CPU_ROWS_INL
#else
#define METALLOID_CPU_ROWS_INL
#endif

#include "backends/cpu/elements-inl.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/thread_pool.hpp"
#include "operations/views.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Columns that a kernel takes at a time, so that converted rows and column sums stay in L1.
inline constexpr std::size_t kSegment = 1024;

/// Normalized integers, element by element: they come and go with images, hardly within a network.
template <class Code>
void normalizedToFloats(const std::byte* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    Code code;
    std::memcpy(&code, from + i * sizeof(Code), sizeof(Code));
    to[i] = static_cast<float>(code) / static_cast<float>(std::numeric_limits<Code>::max());
  }
}

template <class Code>
void floatsToNormalized(const float* from, std::size_t count, std::byte* to) {
  constexpr float kOne = std::numeric_limits<Code>::max();
  for (std::size_t i = 0; i < count; ++i) {
    // To nearest even; NaN becomes 0.
    const auto code = from[i] > 0 ? static_cast<Code>(std::nearbyint(std::min(from[i], 1.0F) * kOne)) : Code{0};
    std::memcpy(to + i * sizeof(Code), &code, sizeof(Code));
  }
}

HWY_INLINE void toFloats(const std::byte* from, DataType type, std::size_t count, float* to) {
  if (type == DataType::float16) {
    convertToFloats(reinterpret_cast<const Float16*>(from), count, to);
  } else if (type == DataType::bFloat16) {
    convertToFloats(reinterpret_cast<const BFloat16*>(from), count, to);
  } else if (type == DataType::unorm8) {
    normalizedToFloats<std::uint8_t>(from, count, to);
  } else if (type == DataType::unorm16) {
    normalizedToFloats<std::uint16_t>(from, count, to);
  } else {
    std::memcpy(to, from, count * sizeof(float));
  }
}

HWY_INLINE void fromFloats(const float* from, std::size_t count, DataType type, std::byte* to) {
  if (type == DataType::float16) {
    convertFromFloats(from, count, reinterpret_cast<Float16*>(to));
  } else if (type == DataType::bFloat16) {
    convertFromFloats(from, count, reinterpret_cast<BFloat16*>(to));
  } else if (type == DataType::unorm8) {
    floatsToNormalized<std::uint8_t>(from, count, to);
  } else if (type == DataType::unorm16) {
    floatsToNormalized<std::uint16_t>(from, count, to);
  } else {
    std::memcpy(to, from, count * sizeof(float));
  }
}

/// Reads row segments of a matrix: in place for float32, converted into a buffer of its own otherwise.
class RowReader {
 public:
  explicit RowReader(const operations::MatrixView& view)
      : view_(view), isFloat_(view.type == DataType::float32), elementSize_(sizeOfDataType(view.type)) {}

  const float* row(std::size_t i, BlockRange columns) {
    const std::byte* const from = view_.row(i) + columns.begin * elementSize_;
    if (isFloat_) return reinterpret_cast<const float*>(from);
    toFloats(from, view_.type, columns.size(), buffer_);
    return buffer_;
  }

  /// How far ahead of a value, in floats, lies the one below it, for prefetching: a segment ends before the hardware
  /// has understood where the next row's begins. 0 where rows are converted.
  std::size_t ahead() const { return isFloat_ ? view_.rowBytes / sizeof(float) : 0; }

 private:
  const operations::MatrixView& view_;
  bool isFloat_;
  std::size_t elementSize_;
  alignas(64) float buffer_[kSegment];
};

/// Takes row segments of a result: `row` gives the place to write, `finish` converts what was written if need be.
class RowWriter {
 public:
  explicit RowWriter(const operations::MatrixView& view)
      : view_(view), isFloat_(view.type == DataType::float32), elementSize_(sizeOfDataType(view.type)) {}

  float* row(std::size_t i, BlockRange columns) {
    return isFloat_ ? reinterpret_cast<float*>(view_.row(i) + columns.begin * elementSize_) : buffer_;
  }
  /// The same with what the matrix holds there now.
  float* update(std::size_t i, BlockRange columns) {
    float* const values = row(i, columns);
    if (!isFloat_) toFloats(view_.row(i) + columns.begin * elementSize_, view_.type, columns.size(), buffer_);
    return values;
  }
  void finish(std::size_t i, BlockRange columns) {
    if (!isFloat_) fromFloats(buffer_, columns.size(), view_.type, view_.row(i) + columns.begin * elementSize_);
  }

 private:
  const operations::MatrixView& view_;
  bool isFloat_;
  std::size_t elementSize_;
  alignas(64) float buffer_[kSegment];
};

/// A vector operand as float32 for the whole operation; null when it was not given.
HWY_INLINE const float* floats(const operations::VectorView& vector, Scratch& scratch) {
  if (!vector) return nullptr;
  if (vector.type == DataType::float32) return reinterpret_cast<const float*>(vector.data);
  auto* const converted = scratch.take<float>(vector.length);
  toFloats(vector.data, vector.type, vector.length, converted);
  return converted;
}

/// Calls f(j, count) for each vector of [0, count); the last call may have fewer than a full vector.
template <class F>
HWY_INLINE void forEachVector(std::size_t count, const F& f) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t j = 0;
  for (; j + lanes <= count; j += lanes) f(j, lanes);
  if (j < count) f(j, count - j);
}

/// Rows that a kernel takes together, so that what it keeps a column is loaded and stored once for all of them.
inline constexpr std::size_t kGroup = 4;

/// One segment of each of `kRows` rows.
template <std::size_t kRows>
using RowGroup = std::array<const float*, kRows>;
template <std::size_t kRows>
using MutableRowGroup = std::array<float*, kRows>;

/// Reads and writes groups of rows.
class GroupReader {
 public:
  explicit GroupReader(const operations::MatrixView& view)
      : readers_{RowReader(view), RowReader(view), RowReader(view), RowReader(view)} {}

  template <std::size_t kRows>
  RowGroup<kRows> rows(std::size_t i, BlockRange columns) {
    RowGroup<kRows> group;
    for (std::size_t r = 0; r < kRows; ++r) group[r] = readers_[r].row(i + r, columns);
    return group;
  }

  /// How far ahead lies the same row of the next group; see `RowReader::ahead`.
  std::size_t ahead() const { return kGroup * readers_[0].ahead(); }

 private:
  std::array<RowReader, kGroup> readers_;
};

class GroupWriter {
 public:
  explicit GroupWriter(const operations::MatrixView& view)
      : writers_{RowWriter(view), RowWriter(view), RowWriter(view), RowWriter(view)} {}

  template <std::size_t kRows>
  MutableRowGroup<kRows> rows(std::size_t i, BlockRange columns) {
    MutableRowGroup<kRows> group;
    for (std::size_t r = 0; r < kRows; ++r) group[r] = writers_[r].row(i + r, columns);
    return group;
  }
  template <std::size_t kRows>
  void finish(std::size_t i, BlockRange columns) {
    for (std::size_t r = 0; r < kRows; ++r) writers_[r].finish(i + r, columns);
  }

 private:
  std::array<RowWriter, kGroup> writers_;
};

/// Calls f(constant with the number of rows, first row) for groups of kGroup rows, then for single ones.
template <class F>
HWY_INLINE void forEachGroup(BlockRange rows, const F& f) {
  std::size_t i = rows.begin;
  for (; i + kGroup <= rows.end; i += kGroup) f(std::integral_constant<std::size_t, kGroup>(), i);
  for (; i < rows.end; ++i) f(std::integral_constant<std::size_t, 1>(), i);
}

/// sums += every row of the group, from top to bottom
template <std::size_t kRows>
HWY_INLINE void addRows(const RowGroup<kRows>& rows, std::size_t ahead, float* sums, std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    auto sum = loadSome(sums + j, n);
    for (const float* const row : rows) {
      hwy::Prefetch(row + j + ahead);
      sum = hn::Add(sum, loadSome(row + j, n));
    }
    storeSome(sum, sums + j, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
