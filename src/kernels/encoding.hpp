#pragma once

#include "core/array_implementation.hpp"
#include "core/buffer_implementation.hpp"
#include "operations/operation.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// The matrices that one encode processes.
struct Batch {
  std::size_t start = 0;
  std::size_t count = 1;
};

/// One encode call of a matrix kernel: checks every operand, resolves origins and batches to views, and records the
/// operation. Until `record` nothing has happened; whatever throws before leaves the command buffer as it was.
class Encoding {
 public:
  /// A matrix operand after its own checks: not nil, right device, usable temporary, origin inside.
  class MatrixOperand {
   public:
    std::size_t rows() const;     ///< available from the origin on
    std::size_t columns() const;  ///< available from the origin on
    std::size_t matrices() const;
    DataType type() const;
    bool given() const { return array_ != nullptr; }

    /// The region of `rows` x `columns` at the origin. @throws Error (invalidArgument) when the matrix is too small for
    /// it.
    operations::MatrixView view(std::size_t rows, std::size_t columns, Batch batch);

   private:
    friend class Encoding;
    Encoding* encoding_ = nullptr;
    ArrayImplementation* array_ = nullptr;  // nil: an optional operand that was not given
    std::string_view role_;
    Origin origin_;
    bool isResult_ = false;
  };

  /// A vector operand after its own checks.
  class VectorOperand {
   public:
    bool given() const { return array_ != nullptr; }
    std::size_t length() const;  ///< available from the origin on
    std::size_t vectors() const;
    DataType type() const;

    /// `length` elements at the origin; an empty view when it was not given. As an input one vector is shared by the
    /// whole batch; a result needs one for each matrix. @throws Error (invalidArgument) when the vector is too short or
    /// there are too few.
    operations::VectorView view(std::size_t length, Batch batch);

   private:
    friend class Encoding;
    Encoding* encoding_ = nullptr;
    ArrayImplementation* array_ = nullptr;
    std::string_view role_;
    std::size_t origin_ = 0;
    bool isResult_ = false;
  };

  /// @throws Error (invalidArgument) for a command buffer that is nil, committed or of another device.
  Encoding(const Kernel& kernel, const CommandBuffer& commandBuffer);

  // Operands: `role` is the argument's label. Sources are read, results written; an update is both.

  MatrixOperand source(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand result(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand update(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalSource(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalResult(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalUpdate(std::string_view role, const Matrix& matrix, Origin origin = {});
  VectorOperand source(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand result(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand update(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalSource(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalResult(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalUpdate(std::string_view role, const Vector& vector, Origin origin = {});

  /// A library-owned buffer that the operation reads, such as PReLU slopes; kept alive with the command buffer.
  operations::VectorView constant(const Buffer& buffer, std::size_t length, DataType type);

  /// The matrices from `start` on, at most `size`, that every operand has. @throws Error when `start` lies beyond them.
  Batch batch(std::size_t start, std::size_t size, std::initializer_list<const MatrixOperand*> operands) const;

  // Types.

  /// Every given operand has one of `types`.
  void requireType(const MatrixOperand& operand, std::initializer_list<DataType> types) const;
  void requireType(const VectorOperand& operand, std::initializer_list<DataType> types) const;
  /// The rule of the layers: all matrices share one type of float32, float16, bFloat16.
  void requireOneFloatType(std::initializer_list<const MatrixOperand*> operands) const;
  /// The rule of the layers' vectors: the matrices' type or float32.
  void requireVectorTypes(DataType matrixType, std::initializer_list<const VectorOperand*> operands) const;

  /// The result may be exactly the source's region; without this, and in every other way, a result must not overlap
  /// another operand.
  void allowInPlace(const MatrixOperand& result, const MatrixOperand& source);
  void allowInPlace(const VectorOperand& result, const VectorOperand& source);

  /// Checks overlaps, records the operation, keeps the operands alive and lowers the read counts of temporaries: once
  /// for each distinct object.
  void record(operations::Operation operation);

  /// Throws Error (invalidArgument), with the encode as context.
  [[noreturn]] void refuse(std::string message) const;

  /// The kernel's class and label, for messages.
  const std::string& kernelName() const { return kernelName_; }

 private:
  enum class Access { read, write, readWrite };

  struct Use {
    ArrayImplementation* array;
    std::string_view role;
    Access access;
    operations::MatrixView region;  // what is touched, once a view was asked for; a vector is a matrix of one row
    bool hasRegion = false;
  };

  struct Allowance {
    const ArrayImplementation* result;
    std::string_view resultRole;
    std::string_view sourceRole;
  };

  ArrayImplementation* check(std::string_view role, const Handle& handle, bool optional, Access access);
  void checkOrigin(std::string_view role, const ArrayImplementation& array, Origin origin) const;
  MatrixOperand matrix(std::string_view role, const Matrix& matrix, Origin origin, bool optional, Access access);
  VectorOperand vector(std::string_view role, const Vector& vector, Origin origin, bool optional, Access access);
  Use& useOf(std::string_view role, const ArrayImplementation& array);
  void checkOverlaps() const;
  bool isAllowed(const Use& result, const Use& other) const;
  std::string describe(std::string_view role, const ArrayImplementation& array) const;

  const Kernel& kernel_;
  CommandBufferImplementation& commandBuffer_;
  std::string kernelName_;
  std::vector<Use> uses_;
  std::vector<Ref<BufferImplementation>> constants_;
  std::vector<Allowance> allowances_;
};

}  // namespace metalloid::detail
