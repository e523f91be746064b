#include "conformance/trial.hpp"

#include "core/format.hpp"
#include "support/devices.hpp"
#include "support/precision.hpp"

#include <metalloid/command_queue.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace metalloid::conformance {
namespace {

constexpr std::byte kUntouched{0xff};
constexpr int kMostFailures = 5;  // reported for one trial; the rest would say the same

/// One queue for each device: a queue has a thread of its own, and there are thousands of trials.
CommandQueue& queueOf(const Device& device) {
  static std::map<std::string, CommandQueue> queues;
  auto [position, isNew] = queues.try_emplace(device.name());
  if (isNew) position->second = device.makeCommandQueue();
  return position->second;
}

bool isFloat(DataType type) {
  return (static_cast<std::uint32_t>(type) & static_cast<std::uint32_t>(DataType::floatBit)) != 0;
}

}  // namespace

Trial::Trial(const Device& device, const Variant& variant, Matrices matrices, bool hasOrigins)
    : device_(device), variant_(variant), matrices_(matrices), random_(variant.seed), choices_(variant.choices) {
  const Storage storage = variant.storage;
  const bool isMixed = storage == Storage::mixed;
  isSliced_ = hasOrigins && (storage == Storage::sliced || isMixed);
  isPadded_ = storage == Storage::padded || storage == Storage::batch || isMixed;
  hasOffset_ = storage == Storage::offset || isMixed;
  if (storage == Storage::batch || isMixed) {
    storedMatrices_ = 4;
    if (matrices == Matrices::batch) {
      // Half of the trials stop at a batchSize, half at the last matrix.
      batchStart_ = 1;
      count_ = random_.coin() ? 2 : 3;
      batchSize_ = count_ == 2 ? 2 : all;
      first_ = batchStart_;
    }
  }
  if (matrices == Matrices::all) count_ = storedMatrices_;
  Approximation::u() = variant.smallIntegers ? 0 : device.name() == "reference" ? 0x1p-53 : 0x1p-24;
}

bool Trial::choice() {
  const bool answer = (choices_ & 1u) != 0;
  choices_ >>= 1;
  return answer;
}

double Trial::factor() {
  if (variant_.smallIntegers) return random_.coin() ? 0.5 : -2;
  constexpr double kFactors[] = {1, 0.75, -1.3, 0.1};
  return kFactors[random_.below(std::size(kFactors))];
}

std::size_t Trial::limit(std::size_t size) const { return isSliced_ ? size : all; }

Operand& Trial::make(Kind kind, std::string name, std::size_t rows, std::size_t columns, const Making& making) {
  const DataType type = making.type;
  const bool isShared = making.isShared;
  const std::size_t element = sizeOfDataType(type);
  Operand& operand = operands_.emplace_back();
  operand.name_ = std::move(name);
  operand.rows_ = rows;
  operand.columns_ = columns;
  operand.type_ = type;
  operand.isResult_ = making.isResult;
  operand.isShared_ = isShared;

  // The origin counts elements of a vector in x, rows and columns of a matrix in x and y.
  std::size_t firstRow = 0, firstColumn = 0, storedRows = rows, storedColumns = columns;
  if (isSliced_ && kind == Kind::matrix) {
    operand.origin = making.origin ? *making.origin : Origin{random_.below(4), random_.below(6), 0};
    firstRow = operand.origin.x;
    firstColumn = operand.origin.y;
    storedRows += firstRow + random_.below(3);
    storedColumns += firstColumn + random_.below(4);
  } else if (isSliced_) {
    if (making.hasOrigin) operand.origin.x = random_.below(6);
    firstColumn = operand.origin.x;
    storedColumns += firstColumn + random_.below(4);
  }
  const std::size_t rowBytes = (storedColumns + (isPadded_ ? 1 + random_.below(5) : 0)) * element;
  const std::size_t matrixBytes =
      kind == Kind::vector ? rowBytes : (storedRows + (isPadded_ ? random_.below(2) : 0)) * rowBytes;
  const std::size_t stored = isShared ? 1 : storedMatrices_;
  const std::size_t offset = hasOffset_ ? element * (1 + random_.below(9)) : 0;
  const std::size_t tail = hasOffset_ ? element * (1 + random_.below(9)) : 0;
  const bool isEmpty = storedRows == 0 || storedColumns == 0;
  const std::size_t needed =
      isEmpty ? 0 : (stored - 1) * matrixBytes + (storedRows - 1) * rowBytes + storedColumns * element;

  operand.buffer_ = device_.makeBuffer(offset + needed + tail);
  operand.buffer_.write(std::vector<std::byte>(operand.buffer_.length(), kUntouched));
  if (kind == Kind::matrix) {
    operand.matrix = Matrix(operand.buffer_, offset,
                            {.rows = storedRows,
                             .columns = storedColumns,
                             .matrices = stored,
                             .rowBytes = rowBytes,
                             .matrixBytes = matrixBytes,
                             .dataType = type});
    operand.matrix.setLabel(operand.name_);
  } else {
    operand.vector = Vector(operand.buffer_, offset,
                            {.length = storedColumns, .vectors = stored, .vectorBytes = rowBytes, .dataType = type});
    operand.vector.setLabel(operand.name_);
  }
  if (rows != 0 && columns != 0) {
    const std::size_t first = isShared ? 0 : first_;
    const std::size_t begin = offset + first * matrixBytes + firstRow * rowBytes + firstColumn * element;
    operand.region_ = Matrix(operand.buffer_, begin,
                             {.rows = rows,
                              .columns = columns,
                              .matrices = isShared ? 1 : count_,
                              .rowBytes = rowBytes,
                              .matrixBytes = matrixBytes,
                              .dataType = type});
    if (making.values) {
      operand.values_.resize(operand.region_.matrices() * rows * columns);
      for (double& value : operand.values_) value = making.values();
      operand.region_.write(operand.values_);
      operand.values_ = operand.region_.read<double>();  // as stored
    }
  }
  return operand;
}

std::function<double()> Trial::drawn(DataType type, Range range) {
  if (!variant_.smallIntegers && isFloat(type)) return [=, this] { return random_.uniform(range.lower, range.upper); };
  return [this, lower = std::max(range.lower, -3.0), upper = std::min(range.upper, 3.0)] {
    return std::floor(random_.uniform(lower, upper + 1));
  };
}

std::function<double()> Trial::drawnBelow(std::size_t count) {
  return [=, this] { return static_cast<double>(random_.below(count)); };
}

Operand& Trial::source(std::string name, std::size_t rows, std::size_t columns, Range range) {
  return matrix(std::move(name), rows, columns, {.type = types().matrix, .values = drawn(types().matrix, range)});
}
Operand& Trial::result(std::string name, std::size_t rows, std::size_t columns) {
  return matrix(std::move(name), rows, columns, {.type = types().result, .isResult = true});
}
Operand& Trial::sourceVector(std::string name, std::size_t length, Range range) {
  return vector(std::move(name), length,
                {.type = types().vector,
                 .values = drawn(types().vector, range),
                 .isShared = matrices_ == Matrices::first || random_.coin(),
                 .hasOrigin = false});
}
Operand& Trial::resultVector(std::string name, std::size_t length) {
  return vector(std::move(name), length, {.type = types().vector, .isResult = true, .hasOrigin = false});
}

Operand& Trial::matrix(std::string name, std::size_t rows, std::size_t columns, const Making& making) {
  return make(Kind::matrix, std::move(name), rows, columns, making);
}
Operand& Trial::vector(std::string name, std::size_t length, const Making& making) {
  return make(Kind::vector, std::move(name), 1, length, making);
}

Operand& Trial::resultOver(Operand& source, std::string name) {
  source.isResult_ = true;
  source.name_ += " and " + std::move(name);
  return source;
}

Operand& Trial::indexVector(std::string name, const std::vector<std::uint32_t>& values) {
  return vector(std::move(name), values.size(),
                {.type = DataType::uInt32,
                 .values = [&, next = std::size_t{0}]() mutable { return static_cast<double>(values[next++]); },
                 .isShared = true,
                 .hasOrigin = false});
}

Operand& Trial::absent() { return operands_.emplace_back(); }

std::vector<std::byte> Trial::withoutRegion(const Operand& operand, std::vector<std::byte> bytes) const {
  if (!operand.isResult_ || !operand.region_) return bytes;
  const Matrix& region = operand.region_;
  for (std::size_t k = 0; k < region.matrices(); ++k) {
    for (std::size_t i = 0; i < region.rows(); ++i) {
      const std::size_t begin = region.offset() + k * region.matrixBytes() + i * region.rowBytes();
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                  region.columns() * sizeOfDataType(region.dataType()), std::byte{});
    }
  }
  return bytes;
}

void Trial::run(const std::function<void(CommandBuffer&)>& encode) {
  for (Operand& operand : operands_) {
    if (!operand) continue;
    operand.before_ = operand.buffer_.read();
    operand.isExpected_.assign(operand.region_ ? operand.region_.matrices() * operand.rows_ * operand.columns_ : 0, 0);
  }
  const testing::ThreadsOf restored(device_);
  bool isFirst = true;
  for (const std::size_t threads : variant_.threads) {
    if (threads != 0) device_.setNumberOfThreads(threads);
    if (!isFirst) {
      for (const Operand& operand : operands_) {
        if (operand) operand.buffer_.write(operand.before_);
      }
    }
    CommandBuffer commands = queueOf(device_).makeCommandBuffer();
    encode(commands);
    commands.commit();
    commands.waitUntilCompleted();
    for (Operand& operand : operands_) {
      if (!operand) continue;
      std::vector<std::byte> after = operand.buffer_.read();
      if (withoutRegion(operand, after) != withoutRegion(operand, operand.before_)) {
        failure(fmt::format("Bytes of {} outside of the region were written.", operand.name_));
      }
      if (isFirst) {
        operand.after_ = std::move(after);
        if (operand.isResult_ && operand.region_) operand.results_ = operand.region_.read<double>();
      } else if (after != operand.after_) {
        failure(threads == 0 ? fmt::format("A second run gives other bits of {}.", operand.name_)
                             : fmt::format("{} threads give other bits of {} than {}.", threads, operand.name_,
                                           variant_.threads.front()));
      }
    }
    isFirst = false;
  }
}

double Trial::resultAt(const Operand& operand, std::size_t k, std::size_t i, std::size_t j) const {
  return operand.results_[(k * operand.rows_ + i) * operand.columns_ + j];
}

void Trial::expect(Operand& operand, std::size_t k, std::size_t i, std::size_t j, const Approximation& expected) {
  if (!operand) return;
  operand.isExpected_[(k * operand.rows_ + i) * operand.columns_ + j] = 1;
  const double actual = resultAt(operand, k, i, j);
  const double value = expected.value();
  const double bound = 2 * expected.error();
  const double tolerance = bound + testing::roundingError(operand.type_, std::fabs(value) + bound);
  if (std::isnan(value) ? std::isnan(actual) : value == actual || std::fabs(actual - value) <= tolerance) return;
  failure(fmt::format("{}[{}][{}, {}] is {}, expected {} +- {}.", operand.name_, k, i, j, actual, value, tolerance));
}

void Trial::finish() {
  for (const Operand& operand : operands_) {
    if (!operand || !operand.isResult_) continue;
    if (std::ranges::count(operand.isExpected_, 0) != 0) {
      failure(fmt::format("The case expects nothing of some elements of {}.", operand.name_));
    }
  }
}

void Trial::failure(const std::string& text) {
  if (++failures_ <= kMostFailures) ADD_FAILURE() << text;
}

}  // namespace metalloid::conformance
