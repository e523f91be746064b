#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/thread_pool.hpp"

namespace metalloid::cpu {

/// How a matrix of a product stores its elements. The integers are taken by value (no scaling).
enum class GemmType : std::uint8_t { float32, float16, bfloat16, int8, int16 };

/// A factor of a product, row-major as stored.
struct GemmFactor {
  const void* data = nullptr;
  std::size_t stride = 0;  ///< Elements from one stored row to the next.
  GemmType type = GemmType::float32;
  bool transposed = false;  ///< Whether the product takes the transpose of what is stored.
};

/// What a product writes, row-major.
struct GemmResult {
  void* data = nullptr;
  std::size_t stride = 0;             ///< Elements from one row to the next.
  GemmType type = GemmType::float32;  ///< One of the three floating-point types.
};

/// What happens to a finished part of a result row while it is still in the cache, after alpha, beta and bias and
/// before it is rounded to the type of the result: `call(context, values, row, column, count)` may change the `count`
/// float32 values that stand for the result's elements [row, column) ... [row, column + count). It is called once for
/// each element, from several threads at a time, in no fixed order and for segments of no fixed length.
struct GemmEpilogue {
  using Call = void (*)(const void* context, float* values, std::size_t row, std::size_t column, std::size_t count);

  Call call = nullptr;
  const void* context = nullptr;
};

/// result := epilogue(alpha * left' * right' + beta * result + bias), where ' transposes a factor that says so.
///
/// left' is [rows, inner], right' is [inner, columns], the result [rows, columns]; any of the three sizes may be 0. The
/// result may not overlap a factor. With beta == 0 the old result is not read, so that its NaN do not spread; with
/// inner == 0 or alpha == 0 the factors are not read.
struct Gemm {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t inner = 0;
  float alpha = 1.0F;
  float beta = 0.0F;
  GemmFactor left{};
  GemmFactor right{};  ///< Of the same type as `left`.
  GemmResult result{};
  const float* bias = nullptr;  ///< One per column, or null for none.
  GemmEpilogue epilogue{};
};

/// Computes one product on the threads of `pool` and returns when it is finished.
///
/// Sums are kept in float32; a 16-bit result is rounded once, to nearest even. The bits of the result depend on the
/// problem and on the instruction set, never on the number of threads.
///
/// Throws Error(invalidArgument) for types that do not go together, Error(outOfMemory) when a thread cannot have its
/// scratch, and whatever the epilogue throws (the result is then unspecified).
void gemm(ThreadPool& pool, const Gemm& problem);

/// The most scratch memory, in bytes, that products keep for each thread that has taken part in one.
std::size_t gemmScratchBytesPerThread() noexcept;

/// The instruction set that products use on this machine, as Highway names it ("AVX3", "AVX2", "NEON", ...).
const char* gemmTargetName() noexcept;

}  // namespace metalloid::cpu
