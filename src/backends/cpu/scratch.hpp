#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace metalloid::cpu {

/// Working memory for one operation at a time: grows to the largest need and is then kept, so that a steady state
/// allocates nothing.
class Scratch {
 public:
  /// Begins an operation: everything taken before may be taken again.
  void reset() { next_ = 0; }

  /// `count` uninitialized elements, aligned for any vector. They stay until the next `reset`.
  template <class T>
  T* take(std::size_t count) {
    if (next_ == blocks_.size()) blocks_.emplace_back();
    Block& block = blocks_[next_++];
    const std::size_t bytes = count * sizeof(T);
    if (block.size < bytes) {
      block = Block{};  // gives the smaller one back first
      block.memory.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kAlignment))));
      block.size = bytes;
    }
    return reinterpret_cast<T*>(block.memory.get());
  }

 private:
  static constexpr std::size_t kAlignment = 64;

  struct Release {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t(kAlignment)); }
  };
  struct Block {
    std::unique_ptr<std::byte, Release> memory;
    std::size_t size = 0;
  };

  std::vector<Block> blocks_;
  std::size_t next_ = 0;
};

}  // namespace metalloid::cpu
