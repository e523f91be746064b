#pragma once

#include "operations/softmax_cross_entropy.hpp"
#include "operations/sum.hpp"

#include <cstddef>
#include <cstdint>

/// What encoding cannot check, because it stands in memory that earlier work of the same queue may still write. A back
/// end that runs on the host calls these before it writes anything of the operation; others give the same messages.
namespace metalloid::backends {

/// Every label is below the number of classes. @throws Error (invalidArgument) naming the first that is not.
void checkLabels(const operations::MatrixSoftMaxCrossEntropy& operation);

/// At its offset every source has the region that is added. @throws Error (invalidArgument) naming the first that has
/// not.
void checkOffsets(const operations::MatrixSum& operation);

/// The offset of source `i`: its first row and column.
struct SourceOffset {
  std::uint32_t row = 0;
  std::uint32_t column = 0;
};
SourceOffset sourceOffset(const operations::MatrixSum& operation, std::size_t i);

}  // namespace metalloid::backends
