#include "backends/cpu/thread_scratch.hpp"

#include <metalloid/error.hpp>

#include <string>

#include <hwy/aligned_allocator.h>

namespace metalloid::cpu {

float* threadFloats(std::size_t count) {
  thread_local hwy::AlignedFreeUniquePtr<float[]> memory;
  thread_local std::size_t size = 0;
  if (size < count) {
    size = 0;
    memory.reset();  // gives the smaller one back first
    memory = hwy::AllocateAligned<float>(count);
    if (!memory) {
      throw Error(ErrorCode::outOfMemory,
                  "A task cannot have its working memory of " + std::to_string(count * sizeof(float)) + " bytes.");
    }
    size = count;
  }
  return memory.get();
}

}  // namespace metalloid::cpu
