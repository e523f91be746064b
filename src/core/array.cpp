#include "core/array_implementation.hpp"
#include "core/buffer_implementation.hpp"
#include "core/checked_size.hpp"
#include "core/element_conversion.hpp"
#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <utility>

namespace metalloid::detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

std::size_t elementSize(DataType type, std::string_view kind) {
  const std::size_t size = sizeOfDataType(type);
  const bool isReal = (static_cast<std::uint32_t>(type) & static_cast<std::uint32_t>(DataType::complexBit)) == 0;
  if (size == 0 || size * 8 != dataTypeBitsCount(type) || !isReal || name(type) == "unknown") {
    throw Error(ErrorCode::unsupported,
                fmt::format("A {} cannot hold elements of type {}: only whole-byte real types have a byte stride.",
                            kind, name(type)));
  }
  return size;
}

std::size_t roundedRow(std::size_t count, DataType type, std::string_view kind) {
  constexpr std::size_t kAlignment = 16;  // keeps rows aligned for vector loads
  const auto bytes = (CheckedSize(count) * elementSize(type, kind) + (kAlignment - 1)).value();
  if (!bytes)
    refuse(fmt::format("A row of {} elements of type {} is larger than the address space.", count, name(type)));
  return *bytes / kAlignment * kAlignment;
}

bool storageFits(const ArrayLayout& layout) {
  const CheckedSize total = CheckedSize(layout.matrices) * layout.matrixBytes +
                            CheckedSize(layout.rows) * layout.rowBytes + CheckedSize(layout.columns) * 16 +
                            CheckedSize(layout.rows) * layout.columns * layout.matrices * 8;
  return !total.overflowed();
}

}  // namespace

ArrayLayout ArrayLayout::of(const MatrixDescriptor& descriptor) {
  const std::size_t element = elementSize(descriptor.dataType, "Matrix");
  const auto what = [&] {
    return fmt::format("Matrix of {} x {} x {} {}", descriptor.matrices, descriptor.rows, descriptor.columns,
                       metalloid::name(descriptor.dataType));
  };
  ArrayLayout layout{.rows = descriptor.rows,
                     .columns = descriptor.columns,
                     .matrices = descriptor.matrices,
                     .rowBytes = descriptor.rowBytes,
                     .matrixBytes = descriptor.matrixBytes,
                     .type = descriptor.dataType};
  const auto shortest = (CheckedSize(layout.columns) * element).value();
  if (!shortest) refuse(fmt::format("The {} is larger than the address space.", what()));
  if (layout.rowBytes == 0) layout.rowBytes = roundedRow(layout.columns, layout.type, "Matrix");
  if (layout.rowBytes % element != 0) {
    refuse(fmt::format("The {} has rowBytes {}, which is no multiple of its element's {} bytes.", what(),
                       layout.rowBytes, element));
  }
  if (layout.rowBytes < *shortest) {
    refuse(fmt::format("The {} has rowBytes {}, but a row needs {} bytes.", what(), layout.rowBytes, *shortest));
  }
  const auto matrix = (CheckedSize(layout.rows) * layout.rowBytes).value();
  if (!matrix) refuse(fmt::format("The {} is larger than the address space.", what()));
  if (layout.matrixBytes == 0) layout.matrixBytes = *matrix;
  if (layout.matrices > 1 && layout.rowBytes > 0 && layout.matrixBytes % layout.rowBytes != 0) {
    refuse(fmt::format("The {} has matrixBytes {}, which is no multiple of its rowBytes {}.", what(),
                       layout.matrixBytes, layout.rowBytes));
  }
  if (layout.matrices > 1 && layout.matrixBytes < *matrix) {
    refuse(fmt::format("The {} has matrixBytes {}, but a matrix needs {} bytes.", what(), layout.matrixBytes, *matrix));
  }
  if (!storageFits(layout)) refuse(fmt::format("The {} is larger than the address space.", what()));
  return layout;
}

ArrayLayout ArrayLayout::of(const VectorDescriptor& descriptor) {
  const std::size_t element = elementSize(descriptor.dataType, "Vector");
  const auto what = [&] {
    return fmt::format("Vector of {} x {} {}", descriptor.vectors, descriptor.length,
                       metalloid::name(descriptor.dataType));
  };
  const auto shortest = (CheckedSize(descriptor.length) * element).value();
  if (!shortest) refuse(fmt::format("The {} is larger than the address space.", what()));
  std::size_t stride = descriptor.vectorBytes;
  if (stride == 0) stride = roundedRow(descriptor.length, descriptor.dataType, "Vector");
  if (stride % element != 0) {
    refuse(fmt::format("The {} has vectorBytes {}, which is no multiple of its element's {} bytes.", what(), stride,
                       element));
  }
  if (descriptor.vectors > 1 && stride < *shortest) {
    refuse(fmt::format("The {} has vectorBytes {}, but a vector needs {} bytes.", what(), stride, *shortest));
  }
  const ArrayLayout layout{.rows = 1,
                           .columns = descriptor.length,
                           .matrices = descriptor.vectors,
                           .rowBytes = stride,
                           .matrixBytes = stride,
                           .type = descriptor.dataType};
  if (!storageFits(layout)) refuse(fmt::format("The {} is larger than the address space.", what()));
  return layout;
}

std::size_t ArrayLayout::storageBytes() const {
  if (rows == 0 || columns == 0 || matrices == 0) return 0;
  return (matrices - 1) * matrixBytes + (rows - 1) * rowBytes + columns * sizeOfDataType(type);
}

ArrayImplementation::ArrayImplementation(Kind kind, Ref<DeviceImplementation> device, const ArrayLayout& layout)
    : kind_(kind), device_(std::move(device)), layout_(layout), buffer_(device_->handle(), layout.storageBytes()) {}

ArrayImplementation::ArrayImplementation(Kind kind, const Buffer& buffer, std::size_t offset, const ArrayLayout& layout)
    : kind_(kind), device_(&implementation(buffer).device()), layout_(layout), offset_(offset), buffer_(buffer) {
  const std::size_t element = sizeOfDataType(layout.type);
  if (offset % element != 0) {
    refuse(fmt::format("The {} begins at byte {} of buffer \"{}\", which is no multiple of its element's {} bytes.",
                       name(), offset, buffer.label(), element));
  }
  const std::size_t needed = layout.storageBytes();
  if (offset > buffer.length() || needed > buffer.length() - offset) {
    refuse(fmt::format("The {} of {} x {} x {} {} needs {} bytes from byte {}, but buffer \"{}\" has {} bytes.", name(),
                       layout.matrices, layout.rows, layout.columns, metalloid::name(layout.type), needed, offset,
                       buffer.label(), buffer.length()));
  }
}

ArrayImplementation::ArrayImplementation(Kind kind, CommandBufferImplementation& commandBuffer,
                                         const ArrayLayout& layout)
    : kind_(kind), device_(&commandBuffer.device()), layout_(layout), isTemporary_(true), owner_(&commandBuffer) {}

std::string ArrayImplementation::name() const {
  const std::string_view type = kind_ == Kind::matrix ? (isTemporary_ ? "TemporaryMatrix" : "Matrix")
                                                      : (isTemporary_ ? "TemporaryVector" : "Vector");
  return label_.empty() ? std::string(type) : fmt::format("{} \"{}\"", type, label_);
}

const Buffer& ArrayImplementation::buffer() const {
  if (isTemporary_) refuse(fmt::format("{} has no buffer: its storage belongs to its command buffer.", name()));
  return buffer_;
}

std::byte* ArrayImplementation::address() {
  if (!isTemporary_) return implementation(buffer_).address() + offset_;
  if (!storage_) storage_ = owner_->takeTemporaryStorage(layout_.storageBytes());
  return storage_->address() + storageOffset_;
}

void ArrayImplementation::setReadCount(std::size_t count) {
  if (readCount_ == 0) refuse(fmt::format("The readCount of {} is 0 already: its contents are gone.", name()));
  readCount_ = count;
  if (count == 0 && storage_ && owner_ && !isPlaced_) owner_->giveTemporaryStorage(std::move(storage_));
}

void ArrayImplementation::place(Ref<Storage> block, std::size_t offset) {
  storage_ = std::move(block);
  storageOffset_ = offset;
  isPlaced_ = true;
}

void ArrayImplementation::endTemporary() {
  owner_ = nullptr;
  storage_ = {};
}

void ArrayImplementation::requireHostAccess(std::string_view action) const {
  if (isTemporary_)
    refuse(fmt::format("{} cannot be {} by the host: its storage belongs to its command buffer.", name(), action));
}

template <class T>
void ArrayImplementation::write(std::span<const T> values) {
  requireHostAccess("written");
  if (values.size() != layout_.elements()) {
    refuse(fmt::format("{} has {} x {} x {} = {} elements, but {} values are written.", name(), layout_.matrices,
                       layout_.rows, layout_.columns, layout_.elements(), values.size()));
  }
  auto& buffer = implementation(buffer_);
  buffer.waitForCommittedWork();
  if (values.empty()) return;
  const std::size_t packedRow = layout_.columns * sizeOfDataType(layout_.type);
  std::byte* const first = buffer.address() + offset_;
  // Packed in the storage type first; a matrix of the same type is copied as it stands.
  const std::vector<std::byte> converted = encodeElements(values, layout_.type);
  const std::byte* const packed =
      converted.empty() ? reinterpret_cast<const std::byte*>(values.data()) : converted.data();
  for (std::size_t k = 0; k < layout_.matrices; ++k) {
    device_->copyToDevice(first + k * layout_.matrixBytes, layout_.rowBytes, packed + k * layout_.rows * packedRow,
                          packedRow, {packedRow, layout_.rows});
  }
}

template <class T>
std::vector<T> ArrayImplementation::read() {
  requireHostAccess("read");
  auto& buffer = implementation(buffer_);
  buffer.waitForCommittedWork();
  if (layout_.elements() == 0) return {};
  const std::size_t packedRow = layout_.columns * sizeOfDataType(layout_.type);
  std::vector<std::byte> packed(layout_.elements() * sizeOfDataType(layout_.type));
  const std::byte* const first = buffer.address() + offset_;
  for (std::size_t k = 0; k < layout_.matrices; ++k) {
    device_->copyToHost(packed.data() + k * layout_.rows * packedRow, packedRow, first + k * layout_.matrixBytes,
                        layout_.rowBytes, {packedRow, layout_.rows});
  }
  return decodeElements<T>(packed, layout_.type);
}

// The types of Matrix::write and Matrix::read.
template void ArrayImplementation::write(std::span<const float>);
template void ArrayImplementation::write(std::span<const double>);
template void ArrayImplementation::write(std::span<const std::uint32_t>);
template void ArrayImplementation::write(std::span<const std::int32_t>);
template void ArrayImplementation::write(std::span<const std::uint8_t>);
template std::vector<float> ArrayImplementation::read();
template std::vector<double> ArrayImplementation::read();
template std::vector<std::uint32_t> ArrayImplementation::read();
template std::vector<std::int32_t> ArrayImplementation::read();
template std::vector<std::uint8_t> ArrayImplementation::read();

Ref<ArrayImplementation> makeTemporary(ArrayImplementation::Kind kind, CommandBuffer& commandBuffer,
                                       const ArrayLayout& layout) {
  auto& owner = implementation(commandBuffer);
  owner.requireOpen("take a temporary");
  auto temporary = makeRef<ArrayImplementation>(kind, owner, layout);
  owner.adopt(*temporary);
  return temporary;
}

void prefetchStorage(CommandBuffer& commandBuffer, std::span<const ArrayLayout> layouts) {
  auto& owner = implementation(commandBuffer);
  owner.requireOpen("prefetch storage");
  std::vector<Ref<Storage>> storages;
  for (const auto& layout : layouts) storages.push_back(owner.takeTemporaryStorage(layout.storageBytes()));
  for (auto& storage : storages) owner.giveTemporaryStorage(std::move(storage));
}

void requireSynchronizable(const ArrayImplementation& array, const CommandBuffer& commandBuffer) {
  const auto& target = implementation(commandBuffer);
  target.requireOpen("synchronize");
  if (&target.device() != &array.device()) {
    refuse(fmt::format("{} is on device {}, but the command buffer is on device {}.", array.name(),
                       array.device().name(), target.device().name()));
  }
}

}  // namespace metalloid::detail

namespace metalloid {

std::size_t MatrixDescriptor::rowBytesForColumns(std::size_t columns, DataType dataType) {
  return detail::roundedRow(columns, dataType, "Matrix");
}

std::size_t VectorDescriptor::vectorBytesForLength(std::size_t length, DataType dataType) {
  return detail::roundedRow(length, dataType, "Vector");
}

}  // namespace metalloid
