#pragma once

#include <metalloid/data_type.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace metalloid::detail {

/// Host values converted to packed elements of `type`: to nearest even for floating point; to nearest and clamped to
/// the range for integers, NaN as 0. Empty when the values already are such elements.
template <class T>
std::vector<std::byte> encodeElements(std::span<const T> values, DataType type);

/// Packed elements of `type` converted to host values, by the same rules.
template <class T>
std::vector<T> decodeElements(std::span<const std::byte> elements, DataType type);

}  // namespace metalloid::detail
