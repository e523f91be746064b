#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metalloid {

/// Where one copy reads and writes, in rows and columns of the stored matrices, whether they are read as transposed or
/// not. In an offset vector these are four consecutive uInt32. Source: MPSMatrixCopyOffsets.
struct MatrixCopyOffsets {
  std::uint32_t sourceRowOffset = 0;          ///< First stored row read.
  std::uint32_t sourceColumnOffset = 0;       ///< First stored column read.
  std::uint32_t destinationRowOffset = 0;     ///< First stored row written.
  std::uint32_t destinationColumnOffset = 0;  ///< First stored column written.
  friend bool operator==(const MatrixCopyOffsets&, const MatrixCopyOffsets&) = default;
};

/// A list of copies for `MatrixCopy`. They execute in any order. Of a matrix that holds several only the first is read
/// or written. Source: MPSMatrixCopyDescriptor.
class MatrixCopyDescriptor {
 public:
  /// One copy.
  struct Operation {
    Matrix sourceMatrix;             ///< Read.
    Matrix destinationMatrix;        ///< Written.
    MatrixCopyOffsets offsets = {};  ///< Where; default 0 for all.
  };

  /// Several copies, whose offsets the device reads when it executes them.
  struct Operations {
    std::vector<Matrix> sourceMatrices;       ///< Read.
    std::vector<Matrix> destinationMatrices;  ///< Written; as many as sources.
    /// uInt32, a `MatrixCopyOffsets` for each copy. One that leads outside a matrix fails the command buffer before
    /// the kernel writes anything. Nil: every offset is 0.
    Vector offsetVector = {};
    std::size_t offset = 0;  ///< Byte of offsetVector where the first one begins, a multiple of 16.
  };

  /// One copy. @throws Error (invalidArgument) for a nil matrix.
  explicit MatrixCopyDescriptor(const Operation& operation);

  /// @throws Error (invalidArgument) for a nil matrix, lists of different lengths, or a vector that does not fit.
  explicit MatrixCopyDescriptor(const Operations& operations);

  /// `count` copies, all of which `setCopyOperationAt` must set before an encode. @throws Error (invalidArgument) for a
  /// nil device.
  MatrixCopyDescriptor(const Device& device, std::size_t count);

  /// Sets one copy of the list. @throws Error (invalidArgument) for an index beyond the list, a nil matrix or one of
  /// another device, and for lists whose offsets come from a vector.
  void setCopyOperationAt(std::size_t index, const Operation& operation);

  /// Metalloid extension: the number of copies.
  std::size_t count() const { return operations_.size(); }

 private:
  friend class MatrixCopy;

  Device device_;  // nil: that of the matrices
  std::vector<Operation> operations_;
  Vector offsetVector_;     // nil: the operations hold their offsets
  std::size_t offset_ = 0;  // bytes
};

/// Copies regions between matrices of one type, whatever it is, bit for bit; transposing and permuting on the way.
///
///     for every copy, every 0 <= i < copyRows and 0 <= j < copyColumns:
///       value        = sourcesAreTransposed ? S[sRow + j, sCol + i] : S[sRow + i, sCol + j]
///       (r, c)       = destinationsAreTransposed ? (j, i) : (i, j)
///       D[dRow + rowPermuteIndices[rowPermuteOffset + r], dCol + columnPermuteIndices[columnPermuteOffset + c]] =
///       value
///
/// A permutation that is nil maps every index to itself. Permutations scatter: they say where a row or a column goes,
/// and act on rows and columns as the destination stores them, after its transposition. "Transposed" means that the
/// stored rows are the columns of the copied matrix.
///
/// Both regions, of copyRows x copyColumns after transposition, must lie in their matrices. Regions written must not
/// overlap each other, a source or a vector; this is refused at encode where the offsets are known then. A row or
/// column that a permutation or an offset vector sends outside its matrix fails the command buffer (invalidArgument)
/// before anything is written; two sent to one place are undefined. Source: MPSMatrixCopy.
class MatrixCopy : public Kernel {
 public:
  /// What a copy kernel is made with.
  struct Descriptor {
    std::size_t copyRows;                    ///< Rows copied, counted before transposition.
    std::size_t copyColumns;                 ///< Columns copied, counted before transposition.
    bool sourcesAreTransposed = false;       ///< The sources are stored transposed.
    bool destinationsAreTransposed = false;  ///< The destinations are stored transposed.
  };

  /// @throws Error (invalidArgument) for a nil device.
  MatrixCopy(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixCopy(Unarchiver& coder, const Device& device);

  std::size_t copyRows() const { return descriptor_.copyRows; }                             ///< Rows of each copy.
  std::size_t copyColumns() const { return descriptor_.copyColumns; }                       ///< Columns of each copy.
  bool sourcesAreTransposed() const { return descriptor_.sourcesAreTransposed; }            ///< See the class.
  bool destinationsAreTransposed() const { return descriptor_.destinationsAreTransposed; }  ///< See the class.

  /// The operands of `encode`.
  struct Arguments {
    MatrixCopyDescriptor copyDescriptor;  ///< The copies.
    Vector rowPermuteIndices = {};        ///< uInt32, an index for each stored row written; nil: none.
    std::size_t rowPermuteOffset = 0;     ///< The element of rowPermuteIndices for row 0.
    Vector columnPermuteIndices = {};     ///< uInt32, an index for each stored column written; nil: none.
    std::size_t columnPermuteOffset = 0;  ///< The element of columnPermuteIndices for column 0.
  };
  using Kernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixCopy copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  Descriptor descriptor_;
};

}  // namespace metalloid
