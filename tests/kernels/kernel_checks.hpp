#pragma once

#include <metalloid/archive.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/vector.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

/// What the tests of every kernel need: operands in awkward layouts, their values as doubles, guards around results,
/// and the checks of errors and archives that all kernels share.
namespace metalloid::test {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// How an operand lies in its buffer; by default packed and alone.
struct Layout {
  DataType type = DataType::float32;
  std::size_t count = 1;    // matrices or vectors
  std::size_t padding = 0;  // elements after each row, and rows after each matrix
  std::size_t offset = 0;   // elements before the first
};

/// Every layout that a kernel must treat alike, for one type.
inline std::vector<Layout> layouts(DataType type, std::size_t count) {
  return {{.type = type, .count = count},
          {.type = type, .count = count, .padding = 3},
          {.type = type, .count = count, .offset = 5},
          {.type = type, .count = count, .padding = 1, .offset = 2}};
}

inline const std::vector<DataType>& floatTypes() {
  static const std::vector<DataType> types{DataType::float32, DataType::float16, DataType::bFloat16};
  return types;
}

inline Buffer filledBuffer(const Device& device, std::size_t bytes) {
  const std::vector<std::byte> pattern(bytes, std::byte{0x55});
  return device.makeBuffer(pattern.data(), pattern.size());
}

inline Matrix makeMatrix(const Device& device, std::size_t rows, std::size_t columns, const Layout& layout = {}) {
  const std::size_t element = sizeOfDataType(layout.type);
  const std::size_t rowBytes = (columns + layout.padding) * element;
  const std::size_t matrixBytes = (rows + layout.padding) * rowBytes;
  return Matrix(filledBuffer(device, layout.offset * element + layout.count * matrixBytes + 64),
                layout.offset * element,
                {.rows = rows,
                 .columns = columns,
                 .matrices = layout.count,
                 .rowBytes = rowBytes,
                 .matrixBytes = matrixBytes,
                 .dataType = layout.type});
}

inline Vector makeVector(const Device& device, std::size_t length, const Layout& layout = {}) {
  const std::size_t element = sizeOfDataType(layout.type);
  const std::size_t vectorBytes = (length + layout.padding) * element;
  return Vector(filledBuffer(device, layout.offset * element + layout.count * vectorBytes + 64),
                layout.offset * element,
                {.length = length, .vectors = layout.count, .vectorBytes = vectorBytes, .dataType = layout.type});
}

/// A packed matrix of these values.
inline Matrix matrixOf(const Device& device, std::size_t rows, std::size_t columns, const std::vector<float>& values,
                       const Layout& layout = {}) {
  const Matrix matrix = makeMatrix(device, rows, columns, layout);
  matrix.write(values);
  return matrix;
}

inline Vector vectorOf(const Device& device, const std::vector<float>& values, const Layout& layout = {}) {
  const Vector vector = makeVector(device, values.size() / layout.count, layout);
  vector.write(values);
  return vector;
}

inline Vector labelsOf(const Device& device, const std::vector<std::uint32_t>& labels, std::size_t vectors = 1) {
  const Vector vector =
      makeVector(device, labels.size() / vectors, {.type = DataType::uInt32, .count = vectors, .padding = 1});
  vector.write(labels);
  return vector;
}

/// Values between -2 and 2, or integers between -9 and 9 for integer types, different for every seed.
template <class Operand>
void writeRandom(const Operand& operand, std::size_t elements, unsigned seed) {
  std::mt19937 generator(seed);
  const bool isFloat =
      (static_cast<std::uint32_t>(operand.dataType()) & static_cast<std::uint32_t>(DataType::floatBit)) != 0;
  std::vector<float> values(elements);
  for (float& value : values) {
    const auto word = generator();
    value = isFloat ? static_cast<float>(word % 4001) / 1000.0f - 2.0f : static_cast<float>(word % 19) - 9.0f;
  }
  operand.write(values);
}

inline Matrix randomMatrix(const Device& device, std::size_t rows, std::size_t columns, const Layout& layout,
                           unsigned seed) {
  const Matrix matrix = makeMatrix(device, rows, columns, layout);
  writeRandom(matrix, layout.count * rows * columns, seed);
  return matrix;
}

inline Vector randomVector(const Device& device, std::size_t length, const Layout& layout, unsigned seed) {
  const Vector vector = makeVector(device, length, layout);
  writeRandom(vector, layout.count * length, seed);
  return vector;
}

/// The elements of a matrix as they are stored, read once.
class Elements {
 public:
  explicit Elements(const Matrix& matrix)
      : rows_(matrix.rows()), columns_(matrix.columns()), values_(matrix.read<double>()) {}
  explicit Elements(const Vector& vector) : rows_(1), columns_(vector.length()), values_(vector.read<double>()) {}

  double operator()(std::size_t k, std::size_t i, std::size_t j) const {
    return values_.at((k * rows_ + i) * columns_ + j);
  }
  double operator()(std::size_t k, std::size_t j) const { return (*this)(k, 0, j); }

 private:
  std::size_t rows_;
  std::size_t columns_;
  std::vector<double> values_;
};

/// Commits what `encode` records and waits for it.
inline void execute(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  encode(commands);
  commands.commit();
  commands.waitUntilCompleted();
}

/// The same, for work that fails when it is executed; gives its error back.
inline Error executeToFailure(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  try {
    execute(device, encode);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::device, "nothing was thrown");
}

/// The largest relative error of rounding to nearest, for numbers in the normal range.
inline double unitRoundoff(DataType type) {
  switch (type) {
    case DataType::float16:
      return 0x1p-11;
    case DataType::bFloat16:
      return 0x1p-8;
    default:
      return 0x1p-24;
  }
}

inline double smallestDenormal(DataType type) {
  switch (type) {
    case DataType::float16:
      return 0x1p-24;
    case DataType::bFloat16:
      return 0x1p-133;
    default:
      return 0x1p-149;
  }
}

/// `actual` is `expected`, rounded to its type once. Devices other than the reference, which computes in double, may
/// add `roundings` roundings to float32 of numbers as large as `scale`.
inline void expectNear(const Device& device, double actual, double expected, DataType type, double roundings,
                       double scale, const std::string& where) {
  const double working = device.name() == "reference" ? 0x1p-50 : 0x1p-24;
  const double tolerance =
      unitRoundoff(type) * std::fabs(expected) + smallestDenormal(type) + roundings * working * scale;
  EXPECT_NEAR(actual, expected, tolerance) << where;
}

/// Remembers a buffer's bytes, to show afterwards that only the region meant was written.
class Guard {
 public:
  explicit Guard(const Matrix& matrix)
      : buffer_(matrix.data()),
        offset_(matrix.offset()),
        rowBytes_(matrix.rowBytes()),
        matrixBytes_(matrix.matrixBytes()),
        element_(sizeOfDataType(matrix.dataType())),
        before_(buffer_.read()) {}
  explicit Guard(const Vector& vector)
      : buffer_(vector.data()),
        offset_(vector.offset()),
        rowBytes_(vector.vectorBytes()),
        matrixBytes_(vector.vectorBytes()),
        element_(sizeOfDataType(vector.dataType())),
        before_(buffer_.read()) {}

  /// Outside of `rows` x `columns` at `origin` of matrices first ... first + count - 1 every byte is as it was.
  void expectUntouchedOutside(Origin origin, std::size_t rows, std::size_t columns, std::size_t first,
                              std::size_t count) const {
    std::vector<std::byte> expected = before_, after = buffer_.read();
    for (std::size_t k = first; k < first + count; ++k) {
      for (std::size_t i = 0; i < rows; ++i) {
        const auto begin =
            static_cast<std::ptrdiff_t>(offset_ + k * matrixBytes_ + (origin.x + i) * rowBytes_ + origin.y * element_);
        const auto end = begin + static_cast<std::ptrdiff_t>(columns * element_);
        std::copy(after.begin() + begin, after.begin() + end, expected.begin() + begin);
      }
    }
    EXPECT_TRUE(after == expected) << "bytes outside of the result were written";
  }

  void expectUntouched() const { expectUntouchedOutside({}, 0, 0, 0, 0); }

 private:
  Buffer buffer_;
  std::size_t offset_;
  std::size_t rowBytes_;
  std::size_t matrixBytes_;
  std::size_t element_;
  std::vector<std::byte> before_;
};

/// `work` throws invalidArgument with every part in its message.
inline void expectRefused(const std::function<void()>& work, std::initializer_list<std::string_view> parts) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument) << error.what();
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "\"" << part << "\" is missing in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "accepted what should be refused with " << *parts.begin();
}

/// The errors that every encode shares: `encode` is given a good command buffer's faulty sisters.
inline void expectRefusesCommandBuffers(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  CommandBuffer nil;
  expectRefused([&] { encode(nil); }, {"The command buffer is nil.", "While encoding"});
  const Device other = Device::named(device.name() == "null" ? "reference" : "null");
  CommandBuffer foreign = other.makeCommandQueue().makeCommandBuffer();
  expectRefused([&] { encode(foreign); }, {"The command buffer is on device " + other.name(), device.name()});
  CommandBuffer committed = device.makeCommandQueue().makeCommandBuffer();
  committed.commit();
  expectRefused([&] { encode(committed); }, {"committed already", "While encoding"});
}

/// `encode` is refused for each part's reason and records nothing.
inline void expectEncodeRefused(const Device& device, const std::function<void(CommandBuffer&)>& encode,
                                std::initializer_list<std::string_view> parts) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  expectRefused([&] { encode(commands); }, parts);
  EXPECT_TRUE(commands.explain().empty()) << "a refused encode recorded something";
}

inline std::vector<std::byte> archiveOf(const Kernel& kernel) {
  Archiver archiver;
  kernel.encode(archiver);
  return archiver.finish();
}

template <class K>
K decoded(const std::vector<std::byte>& archive, const Device& device) {
  Unarchiver unarchiver(archive);
  K kernel(unarchiver, device);
  EXPECT_TRUE(unarchiver.atEnd());
  return kernel;
}

template <class K>
void expectMalformed(const std::vector<std::byte>& archive, const Device& device, const std::string& what) {
  try {
    decoded<K>(archive, device);
    ADD_FAILURE() << what << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformedFile) << what << ": " << error.what();
  }
}

/// The archive with `setting`, a whole number, changed, and with a checksum that fits again.
inline std::vector<std::byte> forged(std::vector<std::byte> archive, std::string_view setting, std::uint64_t value) {
  const auto word = [&](std::size_t at, std::uint64_t number) {
    for (std::size_t b = 0; b < 8; ++b) archive[at + b] = static_cast<std::byte>(number >> (8 * b));
  };
  std::string key(8, '\0');
  key[0] = static_cast<char>(setting.size());
  key.append(setting).push_back('u');
  const auto found = std::search(archive.begin(), archive.end(), key.begin(), key.end(),
                                 [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
  EXPECT_NE(found, archive.end()) << "no setting " << setting;
  if (found == archive.end()) return archive;
  word(static_cast<std::size_t>(found - archive.begin()) + key.size(), value);
  std::uint64_t hash = 0xcbf29ce484222325u;  // 64-bit FNV-1a, as the archive's writer
  for (std::size_t i = 0; i + 8 < archive.size(); ++i) {
    hash = (hash ^ static_cast<std::uint64_t>(archive[i])) * 0x100000001b3u;
  }
  word(archive.size() - 8, hash);
  return archive;
}

/// What `Kernel` promises of every class: `kernel` has no setting at its default, `changed` are kernels that differ
/// from it in one setting each, all of them described, compared, hashed, archived and copied.
template <class K>
void expectBehavesAsKernel(const K& kernel, const std::vector<K>& changed, const Device& device,
                           const std::string& className) {
  EXPECT_TRUE(kernel.description().starts_with(className + " on " + device.name())) << kernel.description();
  EXPECT_NE(kernel.description().find(kernel.label), std::string::npos);

  const auto archive = archiveOf(kernel);
  const K again = decoded<K>(archive, device);
  EXPECT_EQ(again, kernel);
  EXPECT_EQ(std::hash<K>()(again), std::hash<K>()(kernel));
  EXPECT_EQ(again.description(), kernel.description());
  for (const K& other : changed) {
    EXPECT_FALSE(other == kernel) << other;
    EXPECT_NE(other.hash(), kernel.hash()) << other;  // equal by an accident of 1 in 2^64 only
    EXPECT_EQ(decoded<K>(archiveOf(other), device), other);
  }

  const K same = kernel.copy();
  EXPECT_EQ(same, kernel);
  const Device elsewhere = Device::named(device.name() == "null" ? "reference" : "null");
  const K moved = kernel.copy(elsewhere);
  EXPECT_EQ(moved.device(), elsewhere);
  EXPECT_FALSE(moved == kernel);
  EXPECT_EQ(moved.copy(device), kernel);
  EXPECT_EQ(decoded<K>(archive, elsewhere), moved);

  if constexpr (!std::is_same_v<K, MatrixNeuron>) {
    expectMalformed<K>(archiveOf(MatrixNeuron(device)), device, "an archive of a MatrixNeuron");
  }
  expectMalformed<K>({}, device, "an empty archive");
  for (std::size_t length = 0; length < archive.size(); ++length) {
    expectMalformed<K>({archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(length)}, device,
                       "an archive cut to " + std::to_string(length) + " bytes");
  }
  for (std::size_t i = 0; i < archive.size(); ++i) {
    auto damaged = archive;
    damaged[i] ^= static_cast<std::byte>(1 << (i % 8));
    expectMalformed<K>(damaged, device, "an archive with byte " + std::to_string(i) + " damaged");
  }
}

/// Tests that are repeated on several devices.
class OnDevice : public testing::TestWithParam<const char*> {
 protected:
  Device device = Device::named(GetParam());
  Device other = Device::named(device.name() == "null" ? "reference" : "null");
};

/// The parameter as a test's name.
inline std::string deviceName(const testing::TestParamInfo<const char*>& info) { return info.param; }

}  // namespace metalloid::test
