#include "backends/cuda/violations.hpp"

#include "backends/copy_checks.hpp"
#include "backends/execution_checks.hpp"

#include <deque>
#include <vector>

namespace metalloid::cuda {
namespace {

/// Copies on the host of the vectors that checks read.
class HostCopies {
 public:
  explicit HostCopies(detail::DeviceImplementation& device) : device_(device) {}

  /// Lets a view of `vectors` vectors show a copy.
  void fetch(operations::VectorView& view, std::size_t vectors = 1) {
    const std::size_t row = view.length * sizeOfDataType(view.type);
    if (!view || row == 0 || vectors == 0) return;
    if (view.vectorBytes == 0) vectors = 1;
    auto& bytes = bytes_.emplace_back(vectors * row);
    device_.copyToHost(bytes.data(), row, view.data, view.vectorBytes, {.rowLength = row, .rows = vectors});
    view.data = bytes.data();
    if (view.vectorBytes != 0) view.vectorBytes = row;
  }

 private:
  detail::DeviceImplementation& device_;
  std::deque<std::vector<std::byte>> bytes_;
};

template <class Operation>
void check(Operation, HostCopies&) {}

void check(operations::MatrixSoftMaxCrossEntropy operation, HostCopies& copies) {
  copies.fetch(operation.labels, operation.input.matrices);
  backends::checkLabels(operation);
}

void check(operations::MatrixSum operation, HostCopies& copies) {
  copies.fetch(operation.offsets);
  backends::checkOffsets(operation);
}

void check(operations::MatrixCopy operation, HostCopies& copies) {
  copies.fetch(operation.offsets);
  copies.fetch(operation.rowPermute);
  copies.fetch(operation.columnPermute);
  backends::checkedItems(operation);
}

}  // namespace

Error violationOf(const operations::Operation& operation, detail::DeviceImplementation& device) {
  try {
    HostCopies copies(device);
    std::visit([&](const auto& o) { check(o, copies); }, operation);
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& exception) {
    return Error(ErrorCode::device, exception.what());
  }
  // Later operations of the command buffer have overwritten what was wrong.
  return Error(ErrorCode::invalidArgument, "An index that the operation read from its operands was out of range.");
}

}  // namespace metalloid::cuda
