#include "backends/cpu/gemm.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cstddef>
#include <string>

#include "backends/cpu/gemm_plan.hpp"

// This file is compiled once for each instruction set; SVE and RVV vectors have no fixed size and cannot be kept in
// arrays, and SSSE3 adds nothing here to what is always there.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SSSE3)
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "backends/cpu/gemm_kernel-inl.hpp"
#include "backends/cpu/gemm_pack-inl.hpp"
// clang-format on

#ifndef METALLOID_CPU_GEMM_JOB
#define METALLOID_CPU_GEMM_JOB
namespace metalloid::cpu::gemm_internal {

/// What every task of one product knows.
struct GemmJob {
  const Gemm& problem;
  const GemmPlan& plan;
  float* partials;  ///< One result after the other, one for each slice; null if there is one slice.
};

/// A rectangle of the result and a stretch of the inner dimension.
struct GemmTask {
  BlockRange rows;
  BlockRange columns;
  BlockRange inner;
};

/// The memory that packed factors lie in: one per thread.
struct GemmScratch {
  float* right;
  float* left;
  float* staged;
};

}  // namespace metalloid::cpu::gemm_internal
#endif

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {

TileShape tileShape() { return {kTileRows, kTileVectors, hn::Lanes(FloatTag())}; }

/// Where some rows of the left factor lie for the tiles, over one inner block.
struct LeftBlock {
  bool contiguousRows;
  const float* factor;  // null if there is nothing to copy any more
  std::size_t stride;   // of the factor
  float* strips;        // kTileRows * inner floats each; or null
};

template <class T>
LeftBlock prepareLeft(const GemmFactor& left, BlockRange rows, const EvenParts& strips, BlockRange inner,
                      float* scratch) {
  const T* data = static_cast<const T*>(left.data) +
                  (left.transposed ? inner.begin * left.stride + rows.begin : rows.begin * left.stride + inner.begin);
  if constexpr (std::is_same_v<T, float>) {
    return {!left.transposed, data, left.stride, left.transposed ? scratch : nullptr};
  } else if (left.transposed) {
    packLeftStrips(data, left.stride, strips, inner.size(), scratch);
    return {false, nullptr, 0, scratch};
  } else {
    constexpr std::size_t kStride = kMaximumInnerBlock + kLeftRowPadding;
    convertRows(data, left.stride, rows.size(), inner.size(), scratch, kStride);
    return {true, scratch, kStride, nullptr};
  }
}

/// Where some columns of the right factor lie for the tiles, over one inner block: panel after panel in `panels`. The
/// first `inFactor` panels lie in the factor itself, and have yet to be copied where that pays.
struct RightBlock {
  const float* factor;
  std::size_t stride;
  std::size_t inFactor;
  float* panels;
};

template <class T>
RightBlock prepareRight(const GemmJob& job, BlockRange inner, BlockRange columns, const EvenParts& panels,
                        float* scratch) {
  const GemmFactor& right = job.problem.right;
  const T* data = static_cast<const T*>(right.data);
  if (right.transposed) {
    data += columns.begin * right.stride + inner.begin;
    packRightPanelsTransposed(data, right.stride, inner.size(), columns.size(), panels, scratch);
    return {nullptr, 0, 0, scratch};
  }
  data += inner.begin * right.stride + columns.begin;
  if constexpr (std::is_same_v<T, float>) {
    // All but a last panel that would be read beyond the row.
    const std::size_t lanes = hn::Lanes(FloatTag());
    const std::size_t whole = panels.count() - (columns.size() % lanes != 0 ? 1 : 0);
    if (whole < panels.count()) {
      const std::size_t begin = panels.begin(whole) * lanes;
      packRightPanels(data + begin, right.stride, inner.size(), columns.size() - begin,
                      EvenParts(panels.size(whole), kTileVectors), scratch + begin * inner.size());
    }
    return {data, right.stride, whole, scratch};
  } else {
    packRightPanels(data, right.stride, inner.size(), columns.size(), panels, scratch);
    return {nullptr, 0, 0, scratch};
  }
}

/// Where sums are kept, and what happens to them.
struct Target {
  float* data;  // of the first row and column
  std::size_t stride;
  float alpha;
  float beta;         // for the first inner block; the later ones add
  const float* bias;  // of the first column, for the last inner block; or null
};

/// One block: all tiles of some rows and columns over one inner block. Leaves packed what it has had to copy.
void multiplyBlock(const LeftBlock& left, const EvenParts& strips, const RightBlock& right, const EvenParts& panels,
                   std::size_t inner, std::size_t columns, const Target& target) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  Tile tile{};
  tile.inner = inner;
  tile.cStride = target.stride;
  tile.alpha = target.alpha;
  tile.beta = target.beta;
  for (std::size_t strip = 0; strip < strips.count(); ++strip) {
    const std::size_t row = strips.begin(strip);
    for (std::size_t panel = 0; panel < panels.count(); ++panel) {
      LeftAccess access = LeftAccess::contiguousRows;
      if (left.contiguousRows) {
        tile.a = left.factor + row * left.stride;
        tile.aRow = left.stride;
      } else {
        float* packed = left.strips + strip * inner * kTileRows;
        access = left.factor != nullptr && panel == 0 ? LeftAccess::copyToStrips : LeftAccess::strips;
        tile.a = access == LeftAccess::copyToStrips ? left.factor + row : packed;
        tile.aInner = access == LeftAccess::copyToStrips ? left.stride : kTileRows;
        tile.aCopy = packed;
      }
      const std::size_t column = panels.begin(panel) * lanes;
      const std::size_t width = panels.size(panel) * lanes;
      float* packed = right.panels + column * inner;
      const bool copyRight = strip == 0 && strips.count() > 1 && panel < right.inFactor;
      const bool inFactor = copyRight || (strips.count() == 1 && panel < right.inFactor);
      tile.b = inFactor ? right.factor + column : packed;
      tile.bInner = inFactor ? right.stride : width;
      tile.bCopy = packed;
      tile.c = target.data + row * target.stride + column;
      tile.columns = std::min(width, columns - column);
      tile.bias = target.bias != nullptr ? target.bias + column : nullptr;
      tileFunction(access, copyRight, strips.size(strip), panels.size(panel))(tile);
    }
  }
}

/// target := alpha * left * right + beta * target + bias over the inner range, and the epilogue.
template <class T>
void multiply(const GemmJob& job, BlockRange rows, BlockRange columns, BlockRange innerRange, const Target& target,
              const GemmEpilogue& epilogue, const GemmScratch& scratch) {
  const GemmPlan& plan = job.plan;
  const std::size_t lanes = plan.tile.lanes;
  const EvenParts strips(rows.size(), kTileRows);
  for (std::size_t begin = innerRange.begin; begin < innerRange.end; begin += plan.innerBlock) {
    const BlockRange inner{begin, std::min(begin + plan.innerBlock, innerRange.end)};
    const bool last = inner.end == innerRange.end;
    LeftBlock left = prepareLeft<T>(job.problem.left, rows, strips, inner, scratch.left);

    for (std::size_t column = columns.begin; column < columns.end; column += plan.columnBlock) {
      const BlockRange block{column, std::min(column + plan.columnBlock, columns.end)};
      const EvenParts panels((block.size() + lanes - 1) / lanes, kTileVectors);
      const RightBlock right = prepareRight<T>(job, inner, block, panels, scratch.right);
      const std::size_t offset = column - columns.begin;
      multiplyBlock(left, strips, right, panels, inner.size(), block.size(),
                    {target.data + offset, target.stride, target.alpha, begin == innerRange.begin ? target.beta : 1.0F,
                     last && target.bias != nullptr ? target.bias + offset : nullptr});
      if (!left.contiguousRows) left.factor = nullptr;  // packed by now
      if (last && epilogue.call != nullptr) {
        for (std::size_t row = 0; row < rows.size(); ++row) {
          epilogue.call(epilogue.context, target.data + row * target.stride + offset, rows.begin + row, block.begin,
                        block.size());
        }
      }
    }
  }
}

template <class T>
void stageRows(const Gemm& problem, BlockRange rows, BlockRange columns, bool load, float* staged, std::size_t stride) {
  T* data = static_cast<T*>(problem.result.data);
  for (std::size_t row = rows.begin; row < rows.end; ++row) {
    T* from = data + row * problem.result.stride + columns.begin;
    float* to = staged + (row - rows.begin) * stride;
    if (load) {
      convertToFloats(static_cast<const T*>(from), columns.size(), to);
    } else {
      convertFromFloats(to, columns.size(), from);
    }
  }
}

void stageRows(const Gemm& problem, BlockRange rows, BlockRange columns, bool load, float* staged, std::size_t stride) {
  if (problem.result.type == GemmType::float16) {
    stageRows<Float16>(problem, rows, columns, load, staged, stride);
  } else {
    stageRows<BFloat16>(problem, rows, columns, load, staged, stride);
  }
}

/// One task, its rows in portions for which there is scratch.
template <class T>
void runTypedTask(const GemmJob& job, const GemmTask& task, std::size_t slice, const GemmScratch& scratch) {
  const Gemm& problem = job.problem;
  const BlockRange columns = task.columns;
  const float* bias = problem.bias != nullptr ? problem.bias + columns.begin : nullptr;
  const bool staged = job.partials == nullptr && problem.result.type != GemmType::float32;
  const std::size_t portion = staged ? kStagedRows : kLeftBlockRows / kTileRows * kTileRows;
  for (std::size_t begin = task.rows.begin; begin < task.rows.end; begin += portion) {
    const BlockRange rows{begin, std::min(begin + portion, task.rows.end)};
    if (job.partials != nullptr) {
      float* data = job.partials + (slice * problem.rows + begin) * problem.columns + columns.begin;
      multiply<T>(job, rows, columns, task.inner, {data, problem.columns, 1.0F, 0.0F, nullptr}, {}, scratch);
    } else if (!staged) {
      float* data = static_cast<float*>(problem.result.data) + begin * problem.result.stride + columns.begin;
      multiply<T>(job, rows, columns, task.inner, {data, problem.result.stride, problem.alpha, problem.beta, bias},
                  problem.epilogue, scratch);
    } else {
      if (problem.beta != 0.0F) stageRows(problem, rows, columns, true, scratch.staged, kStagedColumns);
      multiply<T>(job, rows, columns, task.inner, {scratch.staged, kStagedColumns, problem.alpha, problem.beta, bias},
                  problem.epilogue, scratch);
      stageRows(problem, rows, columns, false, scratch.staged, kStagedColumns);
    }
  }
}

void runTask(const GemmJob& job, const GemmTask& task, std::size_t slice, const GemmScratch& scratch) {
  withElementType(job.problem.left.type, [&](auto* element) {
    runTypedTask<std::remove_const_t<std::remove_pointer_t<decltype(element)>>>(job, task, slice, scratch);
  });
}

/// Rows of the result from the partial results of `slices` slices, which may be none.
void combine(const GemmJob& job, std::size_t slices, BlockRange rows) {
  const Gemm& problem = job.problem;
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  constexpr std::size_t kSegment = 512;
  float values[kSegment];
  for (std::size_t row = rows.begin; row < rows.end; ++row) {
    for (std::size_t begin = 0; begin < problem.columns; begin += kSegment) {
      const BlockRange columns{begin, std::min(begin + kSegment, problem.columns)};
      const BlockRange oneRow{row, row + 1};
      float* old = static_cast<float*>(problem.result.data) + row * problem.result.stride + begin;
      if (problem.beta == 0.0F) {
        std::fill_n(values, columns.size(), 0.0F);
      } else if (problem.result.type == GemmType::float32) {
        std::copy_n(old, columns.size(), values);
      } else {
        stageRows(problem, oneRow, columns, true, values, 0);
      }
      for (std::size_t i = 0; i < columns.size(); i += lanes) {
        const std::size_t count = std::min(lanes, columns.size() - i);
        const auto load = [&](const float* from)
                              HWY_ATTR { return count == lanes ? loadFloats(d, from) : loadFloats(d, from, count); };
        auto value = hn::Mul(hn::Set(d, problem.beta), hn::LoadU(d, values + i));
        if (slices > 0) {
          auto sum = hn::Zero(d);
          for (std::size_t slice = 0; slice < slices; ++slice) {
            sum = hn::Add(sum, load(job.partials + (slice * problem.rows + row) * problem.columns + begin + i));
          }
          value = hn::MulAdd(hn::Set(d, problem.alpha), sum, value);
        }
        if (problem.bias != nullptr) value = hn::Add(value, load(problem.bias + begin + i));
        hn::StoreU(value, d, values + i);
      }
      if (problem.epilogue.call != nullptr) {
        problem.epilogue.call(problem.epilogue.context, values, row, begin, columns.size());
      }
      if (problem.result.type == GemmType::float32) {
        std::copy_n(values, columns.size(), old);
      } else {
        stageRows(problem, oneRow, columns, false, values, 0);
      }
    }
  }
}

const char* targetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::gemm_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <hwy/aligned_allocator.h>

namespace metalloid::cpu {
namespace gemm_internal {
namespace {

HWY_EXPORT(tileShape);
HWY_EXPORT(runTask);
HWY_EXPORT(combine);
HWY_EXPORT(targetName);

using AlignedFloats = hwy::AlignedFreeUniquePtr<float[]>;

AlignedFloats allocateFloats(std::size_t count) {
  AlignedFloats memory = hwy::AllocateAligned<float>(count);
  if (memory) return memory;
  throw Error(ErrorCode::outOfMemory, "A matrix product cannot have its scratch memory of " +
                                          std::to_string(count * sizeof(float)) + " bytes.");
}

GemmScratch threadScratch() {
  thread_local const AlignedFloats memory = allocateFloats(kScratchFloats);
  return {memory.get(), memory.get() + kRightBlockFloats, memory.get() + kRightBlockFloats + kLeftBlockFloats};
}

float* threadPartials() {
  thread_local const AlignedFloats memory = allocateFloats(kMaximumPartialFloats);
  return memory.get();
}

void check(const Gemm& problem) {
  if (problem.left.type != problem.right.type) {
    throw Error(ErrorCode::invalidArgument, "A matrix product has a left and a right factor of different types.");
  }
  const GemmType type = problem.result.type;
  if (type != GemmType::float32 && type != GemmType::float16 && type != GemmType::bfloat16) {
    throw Error(ErrorCode::invalidArgument, "A matrix product has a result of an integer type.");
  }
}

}  // namespace
}  // namespace gemm_internal

using namespace gemm_internal;

void gemm(ThreadPool& pool, const Gemm& problem) {
  check(problem);
  if (problem.rows == 0 || problem.columns == 0) return;

  const bool empty = problem.inner == 0 || problem.alpha == 0.0F;
  const TileShape tile = HWY_DYNAMIC_DISPATCH(tileShape)();
  const GemmPlan plan = planGemm(problem, tile, pool.threads());
  const GemmJob job{problem, plan, !empty && plan.slices > 1 ? threadPartials() : nullptr};

  if (!empty) {
    const std::size_t tasksPerSlice = plan.rows.count() * plan.columns.count();
    pool.parallelFor(plan.tasks(), [&](std::size_t index) {
      const std::size_t slice = index / tasksPerSlice;
      const std::size_t sliceLength = plan.blocksPerSlice * plan.innerBlock;
      const GemmTask task{plan.rows[index % plan.rows.count()],
                          plan.columns[index % tasksPerSlice / plan.rows.count()],
                          {slice * sliceLength, std::min((slice + 1) * sliceLength, problem.inner)}};
      HWY_DYNAMIC_DISPATCH(runTask)(job, task, slice, threadScratch());
    });
    if (job.partials == nullptr) return;
  }
  const BlockSplit rows(problem.rows, std::max<std::size_t>(8192 / problem.columns, 1));
  pool.parallelForBlocks(rows, [&](BlockRange block) {
    HWY_DYNAMIC_DISPATCH(combine)(job, empty ? 0 : plan.slices, block);
  });
}

std::size_t gemmScratchBytesPerThread() noexcept { return (kScratchFloats + kMaximumPartialFloats) * sizeof(float); }

const char* gemmTargetName() noexcept { return HWY_DYNAMIC_DISPATCH(targetName)(); }

}  // namespace metalloid::cpu
#endif  // HWY_ONCE
