#pragma once

#include <metalloid/metalloid.hpp>

namespace benchmark_program {

/// Overwrites 256 MB with 256 MB from elsewhere: more than caches hold, and what was in them is gone.
class Flush {
 public:
  explicit Flush(const metalloid::Device& device)
      : kernel_(device, {.copyRows = kRows, .copyColumns = kColumns}),
        descriptor_({.sourceMatrix = metalloid::Matrix(device, {.rows = kRows, .columns = kColumns}),
                     .destinationMatrix = metalloid::Matrix(device, {.rows = kRows, .columns = kColumns})}) {}

  void encode(metalloid::CommandBuffer& commands) const { kernel_.encode(commands, {.copyDescriptor = descriptor_}); }

 private:
  static constexpr std::size_t kRows = 8192, kColumns = 8192;

  metalloid::MatrixCopy kernel_;
  metalloid::MatrixCopyDescriptor descriptor_;
};

}  // namespace benchmark_program
