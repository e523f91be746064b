#pragma once

#include <metalloid/buffer.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/data_type.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace metalloid {

/// How a vector, or several of one length, lies in a buffer. Source: MPSVectorDescriptor.
struct VectorDescriptor {
  std::size_t length = 0;                 ///< Elements of one vector; they are contiguous.
  std::size_t vectors = 1;                ///< Number of vectors.
  std::size_t vectorBytes = 0;            ///< Bytes from vector to vector, a multiple of the element's size; 0: chosen.
  DataType dataType = DataType::float32;  ///< Type of the elements.

  /// The recommended, never required, `vectorBytes`: `length` elements rounded up to 16 bytes.
  /// @throws Error (invalidArgument) when the size overflows; (unsupported) unless the type is a whole-byte real one.
  static std::size_t vectorBytesForLength(std::size_t length, DataType dataType);
};

/// One or several vectors in a buffer. Source: MPSVector.
///
/// Element i of vector k lies at byte `offset + k*vectorBytes + i*sizeof(element)`.
class Vector : public detail::Handle {
 public:
  Vector() = default;  ///< Nil.

  /// A vector with storage of its own, zero-filled and made when first needed. @throws as `Matrix` does.
  Vector(const Device& device, const VectorDescriptor& descriptor);

  /// A vector over a caller's buffer, shared and not copied. @throws as above, and when the buffer is too short.
  Vector(const Buffer& buffer, const VectorDescriptor& descriptor);

  /// The same, `offset` bytes (a multiple of the element's size) into the buffer.
  Vector(const Buffer& buffer, std::size_t offset, const VectorDescriptor& descriptor);

  Device device() const;            ///< The device that holds the elements.
  std::size_t length() const;       ///< Elements of one vector.
  std::size_t vectors() const;      ///< Number of vectors.
  DataType dataType() const;        ///< Type of the elements.
  std::size_t vectorBytes() const;  ///< Bytes from vector to vector.
  std::size_t offset() const;       ///< Bytes before the first element.

  /// The buffer; the first access makes the storage. @throws Error (invalidArgument) for a temporary, whose storage is
  /// private.
  Buffer data() const;

  /// Bytes of storage this vector has or would need, without making it.
  std::size_t resourceSize() const;

  /// As `Matrix::synchronize`.
  void synchronize(CommandBuffer& commandBuffer) const;

  /// Metalloid extension: host values in, all vectors one after another, converted as `Matrix::write` does.
  /// @throws Error (invalidArgument) unless `values` holds vectors*length values, and for temporaries; the stored error
  /// when the last committed work on the buffer failed.
  void write(std::span<const float> values) const;
  void write(std::span<const double> values) const;         ///< As above.
  void write(std::span<const std::uint32_t> values) const;  ///< As above.
  void write(std::span<const std::int32_t> values) const;   ///< As above.
  void write(std::span<const std::uint8_t> values) const;   ///< As above.

  /// Metalloid extension: values out, in the order and with the conversions of `write`. `T` is one of its types.
  template <class T>
  std::vector<T> read() const;

  /// Metalloid extension: a name for messages.
  std::string label() const;
  void setLabel(std::string label) const;  ///< Sets the name for messages.

 protected:
  /// For derived handles.
  explicit Vector(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

extern template std::vector<float> Vector::read<float>() const;
extern template std::vector<double> Vector::read<double>() const;
extern template std::vector<std::uint32_t> Vector::read<std::uint32_t>() const;
extern template std::vector<std::int32_t> Vector::read<std::int32_t>() const;
extern template std::vector<std::uint8_t> Vector::read<std::uint8_t>() const;

/// A vector that lives within one command buffer; see `TemporaryMatrix`. Source: MPSTemporaryVector.
class TemporaryVector : public Vector {
 public:
  TemporaryVector() = default;  ///< Nil.

  /// A temporary of `commandBuffer`, with a read count of 1. @throws as `TemporaryMatrix`.
  TemporaryVector(CommandBuffer& commandBuffer, const VectorDescriptor& descriptor);

  /// Reads left before the contents become undefined. Initially 1.
  std::size_t readCount() const;

  /// Sets the reads left; 0 gives the storage back at once. @throws Error (invalidArgument) when the count is 0
  /// already.
  void setReadCount(std::size_t count) const;

  /// Makes storage for vectors of these descriptors, alive at the same time, ahead of their use. A hint.
  static void prefetchStorage(CommandBuffer& commandBuffer, std::span<const VectorDescriptor> descriptorList);
};

}  // namespace metalloid
