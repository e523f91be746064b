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

/// How a matrix, or several of one size, lies in a buffer. Source: MPSMatrixDescriptor.
struct MatrixDescriptor {
  std::size_t rows = 0;                   ///< Rows of one matrix.
  std::size_t columns = 0;                ///< Columns of one matrix.
  std::size_t matrices = 1;               ///< Number of matrices.
  std::size_t rowBytes = 0;               ///< Bytes from row to row, a multiple of the element's size; 0: chosen.
  std::size_t matrixBytes = 0;            ///< Bytes from matrix to matrix, a multiple of rowBytes; 0: rows * rowBytes.
  DataType dataType = DataType::float32;  ///< Type of the elements.

  /// The recommended, never required, `rowBytes`: `columns` elements rounded up to 16 bytes.
  /// @throws Error (invalidArgument) when the size overflows; (unsupported) unless the type is a whole-byte real one.
  static std::size_t rowBytesForColumns(std::size_t columns, DataType dataType);
};

/// One or several matrices in a buffer, row-major. Source: MPSMatrix.
///
/// Element (i, j) of matrix k lies at byte `offset + k*matrixBytes + i*rowBytes + j*sizeof(element)`. The padding after
/// a row is never read nor written, and after the last row need not exist.
class Matrix : public detail::Handle {
 public:
  Matrix() = default;  ///< Nil.

  /// A matrix with storage of its own, zero-filled and made when first needed.
  /// @throws Error (invalidArgument) for a nil device or a descriptor whose strides are too short or no multiple of the
  /// element's size; (unsupported) unless the type is a whole-byte real one.
  Matrix(const Device& device, const MatrixDescriptor& descriptor);

  /// A matrix over a caller's buffer, shared and not copied. @throws as above, and when the buffer is too short.
  Matrix(const Buffer& buffer, const MatrixDescriptor& descriptor);

  /// The same, `offset` bytes (a multiple of the element's size) into the buffer.
  Matrix(const Buffer& buffer, std::size_t offset, const MatrixDescriptor& descriptor);

  Device device() const;            ///< The device that holds the elements.
  std::size_t rows() const;         ///< Rows of one matrix.
  std::size_t columns() const;      ///< Columns of one matrix.
  std::size_t matrices() const;     ///< Number of matrices.
  DataType dataType() const;        ///< Type of the elements.
  std::size_t rowBytes() const;     ///< Bytes from row to row.
  std::size_t matrixBytes() const;  ///< Bytes from matrix to matrix.
  std::size_t offset() const;       ///< Bytes before the first element.

  /// The buffer; the first access makes the storage. @throws Error (invalidArgument) for a temporary, whose storage is
  /// private.
  Buffer data() const;

  /// Bytes of storage this matrix has or would need, without making it.
  std::size_t resourceSize() const;

  /// Makes the device's writes visible to the host: a no-op here, because `read` orders itself; kept so that code
  /// written for discrete storage reads the same. @throws Error (invalidArgument) for a nil or committed command buffer
  /// or one of another device.
  void synchronize(CommandBuffer& commandBuffer) const;

  /// Metalloid extension: host values in, packed row-major, all matrices one after another, each converted to the
  /// matrix's type: to nearest even for floating point; to nearest and clamped to the range for integers, NaN as 0.
  /// Ordered after all committed work on the buffer. @throws Error (invalidArgument) unless `values` holds
  /// matrices*rows*columns values, and for temporaries; the stored error when the last committed work on the buffer
  /// failed.
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
  explicit Matrix(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

extern template std::vector<float> Matrix::read<float>() const;
extern template std::vector<double> Matrix::read<double>() const;
extern template std::vector<std::uint32_t> Matrix::read<std::uint32_t>() const;
extern template std::vector<std::int32_t> Matrix::read<std::int32_t>() const;
extern template std::vector<std::uint8_t> Matrix::read<std::uint8_t>() const;

/// A matrix that lives within one command buffer and shares its storage with others. Source: MPSTemporaryMatrix.
///
/// Each encode that reads it lowers `readCount` by one; at 0 the storage goes back to the command buffer and the
/// contents are undefined. The host can neither read nor write it. The command buffer holds it; it holds the command
/// buffer weakly.
class TemporaryMatrix : public Matrix {
 public:
  TemporaryMatrix() = default;  ///< Nil.

  /// A temporary of `commandBuffer`, with a read count of 1.
  /// @throws Error (invalidArgument) for a nil or committed command buffer, and for descriptors as `Matrix` does.
  TemporaryMatrix(CommandBuffer& commandBuffer, const MatrixDescriptor& descriptor);

  /// Reads left before the contents become undefined. Initially 1.
  std::size_t readCount() const;

  /// Sets the reads left; 0 gives the storage back at once. @throws Error (invalidArgument) when the count is 0
  /// already.
  void setReadCount(std::size_t count) const;

  /// Makes storage for matrices of these descriptors, alive at the same time, ahead of their use. A hint.
  static void prefetchStorage(CommandBuffer& commandBuffer, std::span<const MatrixDescriptor> matrixDescriptorList);
};

}  // namespace metalloid
