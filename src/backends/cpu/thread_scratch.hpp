#pragma once

#include <cstddef>

namespace metalloid::cpu {

/// Uninitialized working memory of the calling thread, aligned for any vector, for one task at a time: grows to the
/// largest need and is then kept. Throws Error(outOfMemory).
float* threadFloats(std::size_t count);

}  // namespace metalloid::cpu
