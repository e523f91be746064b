#pragma once

#include <cstddef>
#include <vector>

namespace metalloid::cpu {

/// Elements one after another, `offset` elements from where a row of a factor begins.
struct Segment {
  std::ptrdiff_t offset;
  std::size_t length;
};

/// Adds a stretch of elements, to the last one if it goes on from there.
inline void append(std::vector<Segment>& segments, std::ptrdiff_t offset, std::size_t length) {
  if (!segments.empty() && segments.back().offset + static_cast<std::ptrdiff_t>(segments.back().length) == offset) {
    segments.back().length += length;
  } else {
    segments.push_back({offset, length});
  }
}

}  // namespace metalloid::cpu
