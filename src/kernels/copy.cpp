#include "operations/copy.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"
#include "kernels/overlap.hpp"

#include <metalloid/error.hpp>
#include <metalloid/matrix_copy.hpp>

#include <deque>
#include <string>
#include <utility>

namespace metalloid {
namespace {

using detail::Encoding;
using operations::MatrixView;
using operations::VectorView;

/// Of a matrix that holds several, the first.
constexpr detail::Batch kFirstMatrix{.start = 0, .count = 1};

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

void requireMatrix(const Matrix& matrix, std::string_view role, std::size_t index) {
  if (!matrix) refuse(fmt::format("The {} of copy operation {} is nil.", role, index));
}

/// One matrix of a copy: what the overlap check sees is the region, what the operation carries is the whole.
class Side {
 public:
  Side(Encoding& encoding, Encoding::MatrixOperand operand, const std::string& role, Origin origin)
      : encoding_(encoding), operand_(operand), role_(role), origin_(origin) {
    if (operand_.matrices() == 0) encoding_.refuse(fmt::format("The {} holds no matrix to copy.", role_));
  }

  DataType type() const { return operand_.type(); }

  /// The whole stored matrix, of which the region of `rows` x `columns` is touched.
  MatrixView touching(std::size_t rows, std::size_t columns) {
    return whole(operand_.view(rows, columns, kFirstMatrix));
  }

  /// The whole stored matrix, of which a region of that size is touched that only the execution knows.
  MatrixView touchingSomewhere(std::size_t rows, std::size_t columns) {
    if (rows > operand_.rows() || columns > operand_.columns()) {
      encoding_.refuse(fmt::format("The {} has {} rows and {} columns, but {} needs {} rows and {} columns of it.",
                                   role_, operand_.rows(), operand_.columns(), encoding_.kernelName(), rows, columns));
    }
    return whole(operand_.view(0, 0, kFirstMatrix));
  }

 private:
  MatrixView whole(MatrixView view) const {
    view.data -= origin_.x * view.rowBytes + origin_.y * sizeOfDataType(view.type);
    view.rows = origin_.x + operand_.rows();
    view.columns = origin_.y + operand_.columns();
    return view;
  }

  Encoding& encoding_;
  Encoding::MatrixOperand operand_;
  const std::string& role_;
  Origin origin_;
};

}  // namespace

MatrixCopyDescriptor::MatrixCopyDescriptor(const Operation& operation) : operations_{operation} {
  requireMatrix(operation.sourceMatrix, "sourceMatrix", 0);
  requireMatrix(operation.destinationMatrix, "destinationMatrix", 0);
}

MatrixCopyDescriptor::MatrixCopyDescriptor(const Operations& operations)
    : offsetVector_(operations.offsetVector), offset_(operations.offset) {
  const auto& sources = operations.sourceMatrices;
  const auto& destinations = operations.destinationMatrices;
  if (sources.size() != destinations.size()) {
    refuse(fmt::format("A MatrixCopyDescriptor is given {} sourceMatrices, but {} destinationMatrices.", sources.size(),
                       destinations.size()));
  }
  for (std::size_t m = 0; m < sources.size(); ++m) {
    requireMatrix(sources[m], "sourceMatrix", m);
    requireMatrix(destinations[m], "destinationMatrix", m);
    operations_.push_back({.sourceMatrix = sources[m], .destinationMatrix = destinations[m]});
  }
  if (!offsetVector_) return;
  if (offsetVector_.dataType() != DataType::uInt32) {
    refuse(fmt::format("The offsetVector of a MatrixCopyDescriptor is of type {}, but must be of type uInt32.",
                       name(offsetVector_.dataType())));
  }
  if (offset_ % sizeof(MatrixCopyOffsets) != 0) {
    refuse(fmt::format("The offset of a MatrixCopyDescriptor is {}, but must be a multiple of {} bytes.", offset_,
                       sizeof(MatrixCopyOffsets)));
  }
  const std::size_t available = offsetVector_.length() / 4, first = offset_ / sizeof(MatrixCopyOffsets);
  if (first > available || count() > available - first) {
    refuse(
        fmt::format("The offsetVector of a MatrixCopyDescriptor has {} elements, but {} copies from byte {} on need "
                    "4 elements each.",
                    offsetVector_.length(), count(), offset_));
  }
}

MatrixCopyDescriptor::MatrixCopyDescriptor(const Device& device, std::size_t count) : device_(device) {
  if (!device) refuse("The device of a MatrixCopyDescriptor is nil.");
  operations_.resize(count);
}

void MatrixCopyDescriptor::setCopyOperationAt(std::size_t index, const Operation& operation) {
  if (index >= count()) {
    refuse(fmt::format("Copy operation {} is set, but the MatrixCopyDescriptor has {} of them.", index, count()));
  }
  if (offsetVector_) {
    refuse(
        fmt::format("Copy operation {} is set, but the MatrixCopyDescriptor takes its offsets from a vector.", index));
  }
  requireMatrix(operation.sourceMatrix, "sourceMatrix", index);
  requireMatrix(operation.destinationMatrix, "destinationMatrix", index);
  for (const Matrix* matrix : {&operation.sourceMatrix, &operation.destinationMatrix}) {
    if (device_ && matrix->device() != device_) {
      refuse(fmt::format("Copy operation {} has {} on device {}, but the MatrixCopyDescriptor is for device {}.", index,
                         detail::implementation(*matrix).name(), matrix->device().name(), device_.name()));
    }
  }
  operations_[index] = operation;
}

MatrixCopy::MatrixCopy(const Device& device, const Descriptor& descriptor)
    : Kernel(device, "MatrixCopy"), descriptor_(descriptor) {}

MatrixCopy::MatrixCopy(Unarchiver& coder, const Device& device)
    : MatrixCopy(device, {.copyRows = 0, .copyColumns = 0}) {
  decode(coder);
}

void MatrixCopy::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  const auto& descriptor = arguments.copyDescriptor;
  const std::size_t count = descriptor.count();
  const auto stored = [&](bool transposed) {
    return transposed ? std::pair{copyColumns(), copyRows()} : std::pair{copyRows(), copyColumns()};
  };
  const auto [sourceRows, sourceColumns] = stored(sourcesAreTransposed());
  const auto [destinationRows, destinationColumns] = stored(destinationsAreTransposed());

  Encoding encoding(*this, commandBuffer);
  operations::MatrixCopy operation{.items = {},
                                   .offsets = {},
                                   .rowPermute = {},
                                   .columnPermute = {},
                                   .rows = copyRows(),
                                   .columns = copyColumns(),
                                   .sourcesAreTransposed = sourcesAreTransposed(),
                                   .destinationsAreTransposed = destinationsAreTransposed()};

  // What the device reads before it copies.
  const auto indices = [&](std::string_view role, const Vector& vector, std::size_t first, std::size_t length) {
    if (!vector) return VectorView();
    auto operand = encoding.source(role, vector, {.x = first});
    encoding.requireType(operand, {DataType::uInt32});
    return operand.view(length, kFirstMatrix);
  };
  operation.rowPermute =
      indices("rowPermuteIndices", arguments.rowPermuteIndices, arguments.rowPermuteOffset, destinationRows);
  operation.columnPermute = indices("columnPermuteIndices", arguments.columnPermuteIndices,
                                    arguments.columnPermuteOffset, destinationColumns);
  operation.offsets =
      indices("offsetVector", descriptor.offsetVector_, descriptor.offset_ / sizeof(std::uint32_t), 4 * count);

  std::deque<std::string> roles;  // outlive the encoding's operands, at addresses that stay
  const auto role = [&](std::string_view name, std::size_t m) -> const std::string& {
    return roles.emplace_back(count == 1 ? std::string(name) : fmt::format("{} {}", name, m));
  };
  for (std::size_t m = 0; m < count; ++m) {
    const auto& [sourceMatrix, destinationMatrix, offsets] = descriptor.operations_[m];
    if (!sourceMatrix) encoding.refuse(fmt::format("Copy operation {} of {} is not set.", m, count));
    const Origin from{.x = offsets.sourceRowOffset, .y = offsets.sourceColumnOffset};
    const Origin to{.x = offsets.destinationRowOffset, .y = offsets.destinationColumnOffset};
    const auto& sourceRole = role("sourceMatrix", m);
    const auto& destinationRole = role("destinationMatrix", m);
    Side source(encoding, encoding.source(sourceRole, sourceMatrix, from), sourceRole, from);
    Side destination(encoding, encoding.result(destinationRole, destinationMatrix, to), destinationRole, to);
    if (source.type() != destination.type()) {
      encoding.refuse(fmt::format("The {} is of type {}, but the {} is of type {}; {} does not convert.", sourceRole,
                                  metalloid::name(source.type()), destinationRole, metalloid::name(destination.type()),
                                  encoding.kernelName()));
    }
    operation.items.push_back({.source = operation.offsets ? source.touchingSomewhere(sourceRows, sourceColumns)
                                                           : source.touching(sourceRows, sourceColumns),
                               .destination = operation.offsets
                                                  ? destination.touchingSomewhere(destinationRows, destinationColumns)
                                                  : destination.touching(destinationRows, destinationColumns),
                               .sourceRow = offsets.sourceRowOffset,
                               .sourceColumn = offsets.sourceColumnOffset,
                               .destinationRow = offsets.destinationRowOffset,
                               .destinationColumn = offsets.destinationColumnOffset});

    // Indices may lead anywhere in a destination, but what is checked there must stay as it was checked.
    for (const auto& [indexRole, view] :
         {std::pair{"rowPermuteIndices", operation.rowPermute},
          std::pair{"columnPermuteIndices", operation.columnPermute}, std::pair{"offsetVector", operation.offsets}}) {
      const MatrixView asMatrix{
          .data = view.data, .rows = view ? 1u : 0u, .columns = view.length, .type = DataType::uInt32};
      if (detail::overlap(asMatrix, operation.items.back().destination)) {
        encoding.refuse(fmt::format("The {} and the {} overlap in memory, which {} does not allow.", indexRole,
                                    destinationRole, encoding.kernelName()));
      }
    }
  }
  encoding.record(std::move(operation));
}

MatrixCopy MatrixCopy::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixCopy::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("copyRows", descriptor_.copyRows);
  visitor.visit("copyColumns", descriptor_.copyColumns);
  visitor.visit("sourcesAreTransposed", descriptor_.sourcesAreTransposed);
  visitor.visit("destinationsAreTransposed", descriptor_.destinationsAreTransposed);
}

}  // namespace metalloid
