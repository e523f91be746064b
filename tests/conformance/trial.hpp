#pragma once

#include "conformance/approximation.hpp"
#include "conformance/variant.hpp"
#include "support/random.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace metalloid::conformance {

/// Which matrices of its operands a kernel processes.
enum class Matrices {
  batch,  ///< batchStart ... batchStart + batchSize - 1
  first,  ///< only the first
  all,    ///< all of them
};

/// Where the values of an operand come from.
struct Range {
  double lower = -2;
  double upper = 2;
};

/// One operand: the matrix or vector that the kernel is given, and the region of it that the kernel works on.
class Operand {
 public:
  Matrix matrix;  ///< nil when not given, or a vector
  Vector vector;  ///< nil when not given, or a matrix
  Origin origin;  ///< of the region

  explicit operator bool() const { return !(rows_ == metalloid::all); }

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }

  /// The value before the run, exactly as stored; k counts the matrices that the kernel processes.
  double at(std::size_t k, std::size_t i, std::size_t j) const {
    return values_[((isShared_ ? 0 : k) * rows_ + i) * columns_ + j];
  }
  /// Element j of the vector that goes with matrix k, or `absent` when there is none.
  double atOr(std::size_t k, std::size_t j, double absent) const { return *this ? at(k, 0, j) : absent; }

 private:
  friend class Trial;

  std::string name_;
  std::size_t rows_ = metalloid::all;
  std::size_t columns_ = 0;
  DataType type_ = DataType::float32;
  bool isResult_ = false;
  bool isShared_ = false;  // one vector for all matrices
  Buffer buffer_;
  Matrix region_;               // the region alone, as a matrix; nil when empty
  std::vector<double> values_;  // before the run
  std::vector<std::byte> before_;
  std::vector<std::byte> after_;
  std::vector<double> results_;  // after the run
  std::vector<char> isExpected_;
};

/// One kernel, one device, one variant: makes guarded operands, runs the kernel (twice or more, with equal bits), and
/// compares every element of every result with an expectation and every other byte with what it was.
///
/// Operands and their padding start as 0xff bytes, NaN in every floating-point type, so that reading what was never
/// written shows, and so does not writing a result.
class Trial {
 public:
  Trial(const Device& device, const Variant& variant, Matrices matrices, bool hasOrigins);

  const Device& device() const { return device_; }
  const Types& types() const { return variant_.types; }
  std::size_t size(std::size_t index) const { return variant_.sizes[index]; }
  testing::Random& random() { return random_; }

  /// The answer to the next yes-or-no question: every combination is tried.
  bool choice();

  bool hasSmallIntegers() const { return variant_.smallIntegers; }

  /// A factor: any number, or one that keeps small integers exact.
  double factor();

  // Operands. An operand that is not given is false, and its handles are nil.

  /// With the types of the variant, at an origin of its own where operands are sliced.
  Operand& source(std::string name, std::size_t rows, std::size_t columns, Range range = {});
  Operand& result(std::string name, std::size_t rows, std::size_t columns);
  Operand& sourceVector(std::string name, std::size_t length, Range range = {});
  Operand& resultVector(std::string name, std::size_t length);

  /// What the rest of the operands differ in.
  struct Making {
    DataType type = DataType::float32;
    bool isResult = false;
    std::function<double()> values = {};  ///< of a source, or of a result that is also read
    std::optional<Origin> origin = {};    ///< where a kernel does not let each operand have its own
    bool isShared = false;                ///< one vector for all matrices
    bool hasOrigin = true;                ///< of a vector
  };
  Operand& matrix(std::string name, std::size_t rows, std::size_t columns, const Making& making);
  Operand& vector(std::string name, std::size_t length, const Making& making);

  /// Values for `Making`: drawn from a range; whole numbers for integer types and where sums are to be exact.
  std::function<double()> drawn(DataType type, Range range = {});
  /// Values for `Making`: 0 ... count - 1.
  std::function<double()> drawnBelow(std::size_t count);

  /// A result in the place of a source.
  Operand& resultOver(Operand& source, std::string name);
  /// A vector of uInt32 with these values, the same for all matrices.
  Operand& indexVector(std::string name, const std::vector<std::uint32_t>& values);
  /// An operand that is not given.
  Operand& absent();

  // Settings of the kernel.

  /// A limit such as sourceRows: the size where operands are larger than what is to be processed, else "all".
  std::size_t limit(std::size_t size) const;
  std::size_t batchStart() const { return batchStart_; }
  std::size_t batchSize() const { return batchSize_; }
  /// The number of matrices processed.
  std::size_t count() const { return count_; }

  /// Sets the batch of a kernel.
  template <class Kernel>
  void setBatch(Kernel& kernel) const {
    kernel.batchStart = batchStart_;
    kernel.batchSize = batchSize_;
  }

  /// Encodes into a command buffer and executes, once for each of the variant's runs.
  void run(const std::function<void(CommandBuffer&)>& encode);

  /// After `run`: what an element of a result must be.
  void expect(Operand& operand, std::size_t k, std::size_t i, std::size_t j, const Approximation& expected);
  void expect(Operand& operand, std::size_t k, std::size_t j, const Approximation& expected) {
    if (operand) expect(operand, k, 0, j, expected);
  }

  /// Reports every element of a result for which nothing was expected; the last call of a trial.
  void finish();

 private:
  enum class Kind { matrix, vector };

  Operand& make(Kind kind, std::string name, std::size_t rows, std::size_t columns, const Making& making);
  double resultAt(const Operand& operand, std::size_t k, std::size_t i, std::size_t j) const;
  std::vector<std::byte> withoutRegion(const Operand& operand, std::vector<std::byte> bytes) const;
  void failure(const std::string& text);

  Device device_;
  Variant variant_;
  Matrices matrices_;
  testing::Random random_;
  std::uint64_t choices_;
  std::deque<Operand> operands_;
  std::size_t storedMatrices_ = 1;
  std::size_t first_ = 0;  // of the matrices processed
  std::size_t count_ = 1;
  std::size_t batchStart_ = 0;
  std::size_t batchSize_ = all;
  bool isSliced_ = false;
  bool isPadded_ = false;
  bool hasOffset_ = false;
  int failures_ = 0;
};

}  // namespace metalloid::conformance
