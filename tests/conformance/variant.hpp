#pragma once

#include "core/format.hpp"

#include <metalloid/data_type.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace metalloid::conformance {

/// How operands lie in memory.
enum class Storage {
  packed,  ///< rows without padding; the buffer ends with the last element
  padded,  ///< padding after each row but the last
  offset,  ///< bytes before and after, and an alignment of one element only
  sliced,  ///< a region, by origin and limits, of a larger matrix
  batch,   ///< several matrices with gaps, of which a kernel with batches processes some
  mixed,   ///< all of these at once
};

inline constexpr Storage kStorages[] = {Storage::packed, Storage::padded, Storage::offset,
                                        Storage::sliced, Storage::batch,  Storage::mixed};

inline const char* name(Storage storage) {
  constexpr const char* kNames[] = {"packed", "padded", "offset", "sliced", "batch", "mixed"};
  return kNames[static_cast<int>(storage)];
}

/// The element types of one trial. Most kernels have matrices of one type and vectors of that or float32.
struct Types {
  const char* name;
  DataType matrix;
  DataType vector;
  DataType result;  ///< of a product, which may be wider than its factors
};

inline constexpr Types kFloat32{"f32", DataType::float32, DataType::float32, DataType::float32};
inline constexpr Types kFloat16{"f16", DataType::float16, DataType::float16, DataType::float16};
inline constexpr Types kBFloat16{"bf16", DataType::bFloat16, DataType::bFloat16, DataType::bFloat16};
inline constexpr Types kFloat16WithFloat32{"f16_f32", DataType::float16, DataType::float32, DataType::float16};
inline constexpr Types kBFloat16WithFloat32{"bf16_f32", DataType::bFloat16, DataType::float32, DataType::bFloat16};

/// What the layers take.
inline const std::vector<Types> kLayerTypes = {kFloat32, kFloat16, kBFloat16, kFloat16WithFloat32,
                                               kBFloat16WithFloat32};
/// Kernels without vectors.
inline const std::vector<Types> kMatrixTypes = {kFloat32, kFloat16, kBFloat16};

using Sizes = std::vector<std::size_t>;

/// One point of the product of everything that a kernel must get right.
struct Variant {
  Sizes sizes;
  Storage storage = Storage::packed;
  Types types = kFloat32;
  std::uint64_t choices = 0;   ///< bit i answers the case's i-th yes-or-no question
  bool smallIntegers = false;  ///< data on which sums and products are exact: nothing is tolerated
  std::uint64_t seed = 0;
  std::vector<std::size_t> threads = {0, 0};  ///< one run for each, all with equal bits; 0: as many as there are
};

inline std::string nameOf(const Sizes& sizes) { return fmt::format("{}", fmt::join(sizes, "x")); }

}  // namespace metalloid::conformance
