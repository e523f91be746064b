#pragma once

#include <cstddef>

namespace metalloid::cpu {

/// Elements one after another, `offset` elements from where a row of a factor begins.
struct Segment {
  std::ptrdiff_t offset;
  std::size_t length;
};

}  // namespace metalloid::cpu
