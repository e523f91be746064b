#include "backends/cpu/gemm.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "backends/cpu/gemm_plan.hpp"

// Compiled once for each instruction set.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "backends/cpu/gemm_kernel-inl.hpp"
#include "backends/cpu/gemm_pack-inl.hpp"
#include "backends/cpu/gemm_vector-inl.hpp"
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
  const float* factor;  // null if it has been packed
  bool usedOnce;        // so that packing does not pay
  std::size_t stride;   // of the factor
  float* strips;        // kTileRows * inner floats each; or null
};

template <class T>
LeftBlock prepareLeft(const GemmFactor& left, BlockRange rows, const EvenParts& strips, BlockRange inner, bool usedOnce,
                      float* scratch) {
  const T* data = static_cast<const T*>(left.data) +
                  (left.transposed ? inner.begin * left.stride + rows.begin : rows.begin * left.stride + inner.begin);
  if constexpr (std::is_same_v<T, float>) {
    return {!left.transposed, data, usedOnce, left.stride, left.transposed ? scratch : nullptr};
  } else if (left.transposed) {
    packLeftStrips(data, left.stride, strips, inner.size(), scratch);
    return {false, nullptr, false, 0, scratch};
  } else {
    constexpr std::size_t kStride = kMaximumInnerBlock + kLeftRowPadding;
    convertRows(data, left.stride, rows.size(), inner.size(), scratch, kStride);
    return {true, scratch, false, kStride, nullptr};
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
                   std::size_t inner, std::size_t columns, Upcoming upcoming, const Target& target) {
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
        const bool inFactor = left.factor != nullptr && panel == 0;
        access = inFactor && !left.usedOnce ? LeftAccess::copyToStrips : LeftAccess::strips;
        tile.a = inFactor ? left.factor + row : packed;
        tile.aInner = inFactor ? left.stride : kTileRows;
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
      RightAccess rightAccess = copyRight ? RightAccess::copy : RightAccess::plain;
      if (!copyRight && upcoming.rows > 0) {
        rightAccess = RightAccess::fetchUpcoming;
        tile.upcoming = upcoming;
        const std::size_t fetched = std::min(upcoming.rows, inner >> upcoming.logLines);
        upcoming.next += fetched * upcoming.stride;
        upcoming.rows = fetched == 0 ? 0 : upcoming.rows - fetched;
      }
      tileFunction(access, rightAccess, strips.size(strip), panels.size(panel))(tile);
    }
  }
}

/// The part of a right factor that a task will read, for fetching it while the block before is computed. Nothing if the
/// factor is small enough to be in a cache anyway.
template <class T>
Upcoming upcomingRight(const Gemm& problem, BlockRange inner, BlockRange columns) {
  constexpr std::size_t kBytesBeyondCaches = std::size_t{4} << 20;
  constexpr std::size_t kLine = 64;
  if (problem.inner * problem.columns < kBytesBeyondCaches / sizeof(T) || columns.size() == 0) return {};
  const GemmFactor& right = problem.right;
  const BlockRange rows = right.transposed ? columns : inner;
  const BlockRange elements = right.transposed ? inner : columns;
  std::size_t logLines = 0;
  while ((kLine << logLines) < elements.size() * sizeof(T)) ++logLines;
  return {reinterpret_cast<const char*>(static_cast<const T*>(right.data) + rows.begin * right.stride + elements.begin),
          right.stride * sizeof(T), logLines, rows.size()};
}

/// target := alpha * left * right + beta * target + bias over the inner range, and the epilogue.
template <class T>
void multiply(const GemmJob& job, BlockRange rows, BlockRange columns, BlockRange innerRange, const Target& target,
              const GemmEpilogue& epilogue, const GemmScratch& scratch) {
  const GemmPlan& plan = job.plan;
  const std::size_t lanes = plan.tile.lanes;
  const EvenParts strips(rows.size(), kTileRows);
  const bool usedOnce = columns.size() <= plan.tile.columns();
  for (std::size_t begin = innerRange.begin; begin < innerRange.end; begin += plan.innerBlock) {
    const BlockRange inner{begin, std::min(begin + plan.innerBlock, innerRange.end)};
    const bool last = inner.end == innerRange.end;
    LeftBlock left = prepareLeft<T>(job.problem.left, rows, strips, inner, usedOnce, scratch.left);

    for (std::size_t column = columns.begin; column < columns.end; column += plan.columnBlock) {
      const BlockRange block{column, std::min(column + plan.columnBlock, columns.end)};
      const EvenParts panels((block.size() + lanes - 1) / lanes, kTileVectors);
      const RightBlock right = prepareRight<T>(job, inner, block, panels, scratch.right);
      const std::size_t offset = column - columns.begin;
      BlockRange nextInner = inner;
      BlockRange nextBlock{block.end, std::min(block.end + plan.columnBlock, columns.end)};
      if (nextBlock.size() == 0) {
        nextInner = {inner.end, std::min(inner.end + plan.innerBlock, innerRange.end)};
        nextBlock = {columns.begin,
                     nextInner.size() == 0 ? columns.begin : std::min(columns.begin + plan.columnBlock, columns.end)};
      }
      multiplyBlock(left, strips, right, panels, inner.size(), block.size(),
                    upcomingRight<T>(job.problem, nextInner, nextBlock),
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

void runVectorTask(const VectorProduct& product, GemmType type, BlockRange outputs, BlockRange inner, float* sums,
                   const GemmScratch& scratch) {
  withElementType(type, [&](auto* element) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(element)>>;
    multiplyVector<T>(product, outputs, inner, sums, scratch.right);
  });
}

/// Rows of the result from the partial results of `slices` slices, which may be none.
void combine(const Gemm& problem, const float* partials, std::size_t slices, BlockRange rows) {
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
            sum = hn::Add(sum, load(partials + (slice * problem.rows + row) * problem.columns + begin + i));
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
HWY_EXPORT(runVectorTask);
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

/// The result from partial results, which may be none.
void finish(ThreadPool& pool, Gemm problem, const float* partials, std::size_t slices) {
  const bool alike = problem.bias == nullptr && problem.epilogue.call == nullptr;
  if (problem.columns == 1 && problem.result.stride == 1 && alike) std::swap(problem.rows, problem.columns);
  constexpr std::size_t kElementsPerTask = 8192;
  const BlockSplit rows(problem.rows, std::max<std::size_t>(kElementsPerTask / problem.columns, 1));
  pool.parallelForBlocks(rows, [&](BlockRange block) {
    HWY_DYNAMIC_DISPATCH(combine)(problem, partials, slices, block);
  });
}

void multiplyByVector(ThreadPool& pool, const Gemm& problem, const VectorProduct& product) {
  float* partials = threadPartials();
  const std::size_t tasks = product.tasks.count();
  pool.parallelFor(product.slices * tasks, [&](std::size_t index) {
    const std::size_t slice = index / tasks;
    const BlockSplit slices(problem.inner, product.sliceLength);
    HWY_DYNAMIC_DISPATCH(runVectorTask)
    (product, problem.left.type, product.tasks[index % tasks], slices[slice], partials + slice * product.outputs,
     threadScratch());
  });
  finish(pool, problem, partials, product.slices);
}

void multiplyMatrices(ThreadPool& pool, const Gemm& problem) {
  const GemmPlan plan = planGemm(problem, HWY_DYNAMIC_DISPATCH(tileShape)(), pool.threads());
  const GemmJob job{problem, plan, plan.slices > 1 ? threadPartials() : nullptr};
  const BlockSplit slices(problem.inner, plan.blocksPerSlice * plan.innerBlock);
  const std::size_t tasksPerSlice = plan.rows.count() * plan.columns.count();
  pool.parallelFor(plan.tasks(), [&](std::size_t index) {
    const std::size_t slice = index / tasksPerSlice;
    const GemmTask task{plan.rows[index % plan.rows.count()], plan.columns[index % tasksPerSlice / plan.rows.count()],
                        slices[slice]};
    HWY_DYNAMIC_DISPATCH(runTask)(job, task, slice, threadScratch());
  });
  if (job.partials != nullptr) finish(pool, problem, job.partials, plan.slices);
}

}  // namespace

const char* selectedTargetName() noexcept { return HWY_DYNAMIC_DISPATCH(targetName)(); }

}  // namespace gemm_internal

using namespace gemm_internal;

void gemm(ThreadPool& pool, const Gemm& problem) {
  check(problem);
  if (problem.rows == 0 || problem.columns == 0) return;
  if (problem.inner == 0 || problem.alpha == 0.0F) {
    finish(pool, problem, nullptr, 0);
  } else if (const auto product = planVectorProduct(problem, pool.threads())) {
    multiplyByVector(pool, problem, *product);
  } else {
    multiplyMatrices(pool, problem);
  }
}

std::size_t gemmScratchBytesPerThread() noexcept { return (kScratchFloats + kMaximumPartialFloats) * sizeof(float); }

const char* gemmTargetName() noexcept { return selectedTargetName(); }

}  // namespace metalloid::cpu
#endif  // HWY_ONCE
