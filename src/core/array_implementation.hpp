#pragma once

#include "core/command_buffer_implementation.hpp"
#include "core/device_implementation.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/data_type.hpp>
#include <metalloid/detail/handle.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace metalloid::detail {

/// How rows of elements lie in storage, complete and checked. A vector is a matrix of one row.
struct ArrayLayout {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t matrices = 1;
  std::size_t rowBytes = 0;
  std::size_t matrixBytes = 0;
  DataType type = DataType::float32;

  /// Fills in chosen strides. @throws Error for strides and types that a Matrix or Vector cannot have.
  static ArrayLayout of(const MatrixDescriptor& descriptor);
  static ArrayLayout of(const VectorDescriptor& descriptor);

  /// Bytes from the first element to the last; nothing wraps, because `of` has checked it.
  std::size_t storageBytes() const;
  std::size_t elements() const { return matrices * rows * columns; }
};

/// What a Matrix or a Vector refers to: a layout over a buffer, or over storage of a command buffer.
class ArrayImplementation final : public RefCounted {
 public:
  enum class Kind { matrix, vector };

  ArrayImplementation(Kind kind, Ref<DeviceImplementation> device, const ArrayLayout& layout);
  ArrayImplementation(Kind kind, const Buffer& buffer, std::size_t offset, const ArrayLayout& layout);
  /// A temporary of the command buffer.
  ArrayImplementation(Kind kind, CommandBufferImplementation& commandBuffer, const ArrayLayout& layout);

  Kind kind() const { return kind_; }
  DeviceImplementation& device() const { return *device_; }
  const ArrayLayout& layout() const { return layout_; }
  std::size_t offset() const { return offset_; }
  bool isTemporary() const { return isTemporary_; }

  /// `Matrix "x"`, or `Matrix` without a label.
  std::string name() const;
  const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }

  /// @throws Error (invalidArgument) for a temporary.
  const Buffer& buffer() const;

  /// The first element on the device; makes storage where there is none yet.
  std::byte* address();

  // Temporaries only.

  CommandBufferImplementation* owner() const { return owner_; }  ///< nil once committed or gone
  std::size_t readCount() const { return readCount_; }
  void setReadCount(std::size_t count);
  /// One encode has read it.
  void countRead() { setReadCount(readCount_ - 1); }
  void endTemporary();
  /// Storage within a block that others share and that is not given back with the last read.
  void place(Ref<Storage> block, std::size_t offset);

  template <class T>
  void write(std::span<const T> values);
  template <class T>
  std::vector<T> read();

 private:
  void requireHostAccess(std::string_view action) const;

  Kind kind_;
  Ref<DeviceImplementation> device_;
  ArrayLayout layout_;
  std::size_t offset_ = 0;
  Buffer buffer_;
  std::string label_;

  bool isTemporary_ = false;
  CommandBufferImplementation* owner_ = nullptr;
  std::size_t readCount_ = 1;
  Ref<Storage> storage_;
  std::size_t storageOffset_ = 0;
  bool isPlaced_ = false;
};

/// A new temporary, adopted by the command buffer. @throws Error (invalidArgument) for a nil or committed command
/// buffer.
Ref<ArrayImplementation> makeTemporary(ArrayImplementation::Kind kind, CommandBuffer& commandBuffer,
                                       const ArrayLayout& layout);

/// Makes storage for all layouts at once and gives it back, so that temporaries of these sizes find it.
void prefetchStorage(CommandBuffer& commandBuffer, std::span<const ArrayLayout> layouts);

/// @throws Error (invalidArgument) unless the command buffer is open and of the array's device.
void requireSynchronizable(const ArrayImplementation& array, const CommandBuffer& commandBuffer);

/// The objects behind handles. @throws Error (invalidArgument) for nil.
ArrayImplementation& implementation(const Matrix& matrix);
ArrayImplementation& implementation(const Vector& vector);

}  // namespace metalloid::detail
