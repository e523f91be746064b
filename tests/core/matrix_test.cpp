#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

const Device kDevice = Device::named("null");  // nothing here computes

TEST(MatrixDescriptorTest, RecommendsRowsOfWhole16Bytes) {
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(0, DataType::float32), 0u);
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(1, DataType::float32), 16u);
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(4, DataType::float32), 16u);
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(5, DataType::float32), 32u);
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(9, DataType::float16), 32u);
  EXPECT_EQ(MatrixDescriptor::rowBytesForColumns(17, DataType::uInt8), 32u);
  EXPECT_EQ(VectorDescriptor::vectorBytesForLength(5, DataType::int64), 48u);
}

TEST(MatrixDescriptorTest, RecommendationsDoNotOverflow) {
  const std::size_t most = std::numeric_limits<std::size_t>::max();
  expectError(ErrorCode::invalidArgument, {std::to_string(most), "address space"},
              [&] { MatrixDescriptor::rowBytesForColumns(most, DataType::float32); });
  expectError(ErrorCode::invalidArgument, {"address space"},
              [&] { MatrixDescriptor::rowBytesForColumns(most, DataType::uInt8); });  // only the rounding overflows
  expectError(ErrorCode::invalidArgument, {"address space"},
              [&] { VectorDescriptor::vectorBytesForLength(most / 2, DataType::float32); });
}

TEST(MatrixTest, DescribesItself) {
  const Matrix matrix(kDevice, {.rows = 3, .columns = 5, .matrices = 2, .dataType = DataType::float16});
  EXPECT_EQ(matrix.device(), kDevice);
  EXPECT_EQ(matrix.rows(), 3u);
  EXPECT_EQ(matrix.columns(), 5u);
  EXPECT_EQ(matrix.matrices(), 2u);
  EXPECT_EQ(matrix.dataType(), DataType::float16);
  EXPECT_EQ(matrix.rowBytes(), 16u);
  EXPECT_EQ(matrix.matrixBytes(), 48u);
  EXPECT_EQ(matrix.offset(), 0u);
  EXPECT_EQ(matrix.resourceSize(), 48u + 2 * 16u + 5 * 2u) << "The padding of the last row need not exist.";
  EXPECT_EQ(matrix.label(), "");
  matrix.setLabel("x");
  EXPECT_EQ(Matrix(matrix).label(), "x");
}

TEST(MatrixTest, DefaultsAreOneFloat32MatrixOfNothing) {
  const Matrix matrix(kDevice, MatrixDescriptor{});
  EXPECT_EQ(matrix.rows(), 0u);
  EXPECT_EQ(matrix.matrices(), 1u);
  EXPECT_EQ(matrix.dataType(), DataType::float32);
  EXPECT_EQ(matrix.resourceSize(), 0u);
  EXPECT_TRUE(matrix.read<float>().empty());
  matrix.write(std::vector<float>());
}

TEST(VectorTest, DescribesItself) {
  const Vector vector(kDevice, {.length = 5, .vectors = 3, .dataType = DataType::int16});
  EXPECT_EQ(vector.device(), kDevice);
  EXPECT_EQ(vector.length(), 5u);
  EXPECT_EQ(vector.vectors(), 3u);
  EXPECT_EQ(vector.vectorBytes(), 16u);
  EXPECT_EQ(vector.dataType(), DataType::int16);
  EXPECT_EQ(vector.offset(), 0u);
  EXPECT_EQ(vector.resourceSize(), 2 * 16u + 5 * 2u);
  vector.setLabel("b");
  EXPECT_EQ(vector.label(), "b");
  const Vector single(kDevice, {.length = 5});
  EXPECT_EQ(single.vectors(), 1u);
  EXPECT_EQ(single.dataType(), DataType::float32);
  EXPECT_EQ(single.resourceSize(), 20u);
}

TEST(MatrixTest, SizesOfNothingNeedNoStorage) {
  for (const auto& [rows, columns, matrices] :
       std::vector<std::array<std::size_t, 3>>{{0, 5, 1}, {5, 0, 1}, {5, 5, 0}, {0, 0, 3}}) {
    const Matrix matrix(kDevice, {.rows = rows, .columns = columns, .matrices = matrices});
    EXPECT_EQ(matrix.resourceSize(), 0u);
    EXPECT_TRUE(matrix.read<double>().empty());
    const Matrix inNothing(kDevice.makeBuffer(0), {.rows = rows, .columns = columns, .matrices = matrices});
    EXPECT_TRUE(inNothing.read<double>().empty());
  }
  EXPECT_EQ(Vector(kDevice, {.length = 0, .vectors = 4}).resourceSize(), 0u);
  EXPECT_EQ(Vector(kDevice, {.length = 4, .vectors = 0}).resourceSize(), 0u);
}

TEST(MatrixTest, RefusesStridesThatDoNotFit) {
  const auto make = [](MatrixDescriptor descriptor) { return [=] { Matrix(kDevice, descriptor); }; };
  expectError(ErrorCode::invalidArgument, {"1 x 2 x 3 float32", "rowBytes 13", "4 bytes"},
              make({.rows = 2, .columns = 3, .rowBytes = 13}));
  expectError(ErrorCode::invalidArgument, {"rowBytes 8", "12 bytes"}, make({.rows = 2, .columns = 3, .rowBytes = 8}));
  expectError(ErrorCode::invalidArgument, {"matrixBytes 40", "rowBytes 16"},
              make({.rows = 2, .columns = 3, .matrices = 2, .rowBytes = 16, .matrixBytes = 40}));
  expectError(ErrorCode::invalidArgument, {"matrixBytes 16", "32 bytes"},
              make({.rows = 2, .columns = 3, .matrices = 2, .rowBytes = 16, .matrixBytes = 16}));
  // Of one matrix the stride addresses nothing.
  EXPECT_EQ(Matrix(kDevice, {.rows = 2, .columns = 3, .rowBytes = 16, .matrixBytes = 16}).matrices(), 1u);
  const auto makeVector = [](VectorDescriptor descriptor) { return [=] { Vector(kDevice, descriptor); }; };
  expectError(ErrorCode::invalidArgument, {"2 x 3 float32", "vectorBytes 14"},
              makeVector({.length = 3, .vectors = 2, .vectorBytes = 14}));
  expectError(ErrorCode::invalidArgument, {"vectorBytes 8", "12 bytes"},
              makeVector({.length = 3, .vectors = 2, .vectorBytes = 8}));
}

TEST(MatrixTest, RefusesTypesWithoutAByteStride) {
  for (const DataType type : {DataType::invalid, DataType::unorm1, DataType::complexFloat32, DataType::complexFloat16,
                              DataType::floatBit, static_cast<DataType>(0x20000004u), static_cast<DataType>(12345u)}) {
    expectError(ErrorCode::unsupported, {"Matrix", "whole-byte real types"},
                [&] { Matrix(kDevice, {.rows = 1, .columns = 1, .dataType = type}); });
    expectError(ErrorCode::unsupported, {"Vector"}, [&] { Vector(kDevice, {.length = 1, .dataType = type}); });
    expectError(ErrorCode::unsupported, {}, [&] { MatrixDescriptor::rowBytesForColumns(1, type); });
  }
}

TEST(MatrixTest, RefusesSizesThatOverflow) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  const auto refuses = [](const MatrixDescriptor& descriptor) {
    expectError(ErrorCode::invalidArgument, {"address space"}, [&] { Matrix(kDevice, descriptor); });
  };
  refuses({.rows = kMost, .columns = kMost});
  refuses({.rows = 1, .columns = kMost / 2});
  refuses({.rows = kMost / 8, .columns = 4});
  refuses({.rows = std::size_t{1} << 33, .columns = std::size_t{1} << 33});
  refuses({.rows = 2, .columns = 2, .matrices = kMost / 8});
  refuses({.rows = 2, .columns = 2, .matrices = 3, .matrixBytes = kMost / 16 * 16});
  refuses({.rows = kMost / 32, .columns = 1, .rowBytes = 64});
  expectError(ErrorCode::invalidArgument, {"address space"}, [] { Vector(kDevice, {.length = kMost / 2}); });
  expectError(ErrorCode::invalidArgument, {"address space"},
              [] { Vector(kDevice, {.length = 4, .vectors = kMost / 8}); });
}

TEST(MatrixTest, LiesInACallersBuffer) {
  const Buffer buffer = kDevice.makeBuffer(100);
  const Matrix matrix(buffer, 12, {.rows = 2, .columns = 2, .matrices = 2, .rowBytes = 12, .matrixBytes = 36});
  EXPECT_EQ(matrix.data(), buffer);
  EXPECT_EQ(matrix.offset(), 12u);
  matrix.write(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  const Matrix whole(buffer, {.rows = 1, .columns = 25, .rowBytes = 100});
  std::vector<float> expected(25);
  expected[3] = 1, expected[4] = 2, expected[6] = 3, expected[7] = 4;
  expected[12] = 5, expected[13] = 6, expected[15] = 7, expected[16] = 8;
  EXPECT_EQ(whole.read<float>(), expected);
  EXPECT_EQ(matrix.read<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(MatrixTest, NeedsABufferThatReachesToItsLastElement) {
  const MatrixDescriptor descriptor{.rows = 3, .columns = 2, .matrices = 2, .rowBytes = 16, .matrixBytes = 48};
  constexpr std::size_t kNeeded = 48 + 2 * 16 + 2 * 4;
  EXPECT_EQ(Matrix(kDevice.makeBuffer(kNeeded), descriptor).resourceSize(), kNeeded);
  EXPECT_EQ(Matrix(kDevice.makeBuffer(kNeeded + 8), 8, descriptor).rows(), 3u);
  const Buffer shorter = kDevice.makeBuffer(kNeeded - 1);
  shorter.setLabel("arena");
  expectError(ErrorCode::invalidArgument, {"\"arena\"", "needs 88 bytes", "has 87 bytes"},
              [&] { Matrix(shorter, descriptor); });
  expectError(ErrorCode::invalidArgument, {"from byte 8"}, [&] { Matrix(shorter, 8, descriptor); });
  expectError(ErrorCode::invalidArgument, {},
              [&] { Matrix(shorter, std::numeric_limits<std::size_t>::max() - 3, descriptor); });
  expectError(ErrorCode::invalidArgument, {"byte 2", "4 bytes"},
              [&] { Matrix(shorter, 2, {.rows = 1, .columns = 1}); });
  expectError(ErrorCode::invalidArgument, {"needs 12 bytes"},
              [] { Vector(kDevice.makeBuffer(11), {.length = 3, .vectorBytes = 4}); });
  EXPECT_EQ(Vector(kDevice.makeBuffer(16), 4, {.length = 3}).offset(), 4u);
}

TEST(MatrixTest, IsZeroUntilWritten) {
  const Matrix matrix(kDevice, {.rows = 2, .columns = 3});
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(6));
  EXPECT_EQ(matrix.data().length(), matrix.resourceSize());
}

TEST(MatrixTest, TakesExactlyAsManyValuesAsItHolds) {
  const Matrix matrix(kDevice, {.rows = 2, .columns = 3, .matrices = 2});
  matrix.setLabel("x");
  expectError(ErrorCode::invalidArgument, {"Matrix \"x\"", "2 x 2 x 3 = 12", "11 values"},
              [&] { matrix.write(std::vector<float>(11)); });
  expectError(ErrorCode::invalidArgument, {"13 values"}, [&] { matrix.write(std::vector<double>(13)); });
  const Vector vector(kDevice, {.length = 3, .vectors = 2});
  expectError(ErrorCode::invalidArgument, {"Vector", "5 values"}, [&] { vector.write(std::vector<std::int32_t>(5)); });
}

TEST(MatrixTest, SynchronizesWithAnOpenCommandBufferOfItsDevice) {
  const Matrix matrix(kDevice, {.rows = 2, .columns = 3});
  const Vector vector(kDevice, {.length = 3});
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  matrix.synchronize(commands);
  vector.synchronize(commands);
  CommandBuffer other = Device::named("cpu").makeCommandQueue().makeCommandBuffer();
  expectError(ErrorCode::invalidArgument, {"device null", "device cpu"}, [&] { matrix.synchronize(other); });
  CommandBuffer nil;
  expectError(ErrorCode::invalidArgument, {"nil"}, [&] { matrix.synchronize(nil); });
  commands.commit();
  expectError(ErrorCode::invalidArgument, {"committed"}, [&] { vector.synchronize(commands); });
}

TEST(MatrixTest, NilIsRefusedByEveryCall) {
  const Matrix matrix;
  const Vector vector;
  expectError(ErrorCode::invalidArgument, {"matrix is nil"}, [&] { matrix.rows(); });
  expectError(ErrorCode::invalidArgument, {"matrix is nil"}, [&] { matrix.read<float>(); });
  expectError(ErrorCode::invalidArgument, {"matrix is nil"}, [&] { matrix.write(std::vector<float>()); });
  expectError(ErrorCode::invalidArgument, {"matrix is nil"}, [&] { matrix.data(); });
  expectError(ErrorCode::invalidArgument, {"vector is nil"}, [&] { vector.length(); });
  expectError(ErrorCode::invalidArgument, {"vector is nil"}, [&] { vector.read<double>(); });
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [] { Matrix(Buffer(), {.rows = 1, .columns = 1}); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [] { Vector(Device(), {.length = 1}); });
}

// --- Conversions ----------------------------------------------------------------------------------------------------

/// What reading gives after writing, through an element type.
template <class T>
std::vector<T> through(DataType type, const std::vector<T>& values) {
  const Matrix matrix(kDevice, {.rows = 1, .columns = values.size(), .dataType = type});
  matrix.write(values);
  const Vector vector(kDevice, {.length = values.size(), .dataType = type});
  vector.write(values);
  EXPECT_EQ(matrix.data().read(), vector.data().read());
  return matrix.read<T>();
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ConversionTest, FloatingPointKeepsWhatItCanHold) {
  const std::vector<float> values = {0, -0.0f, 1, -2.5f, 0.15625f, kInfinity, -kInfinity};
  for (const DataType type : {DataType::float32, DataType::float16, DataType::bFloat16}) {
    const auto back = through(type, values);
    EXPECT_EQ(back, values) << name(type);
    EXPECT_TRUE(std::signbit(back[1]));
    EXPECT_TRUE(std::isnan(through(type, std::vector<float>{NAN})[0]));
  }
}

TEST(ConversionTest, FloatingPointRoundsToNearestEvenOnce) {
  // float16: 11 significant bits. 2049 lies between 2048 and 2050, 2051 between 2050 and 2052.
  EXPECT_EQ(through(DataType::float16, std::vector<float>{2049, 2051, 2049.5f, 65519.9f, 65520, -70000}),
            (std::vector<float>{2048, 2052, 2050, 65504, kInfinity, -kInfinity}));
  // Denormals: multiples of 2^-24; half of the smallest goes to 0.
  EXPECT_EQ(through(DataType::float16, std::vector<double>{0x1p-24, 0x1.8p-24, 0x1p-25, 0x1.0001p-25}),
            (std::vector<double>{0x1p-24, 0x1p-23, 0, 0x1p-24}));
  // bFloat16: 8 significant bits.
  EXPECT_EQ(through(DataType::bFloat16, std::vector<float>{257, 259, 258}), (std::vector<float>{256, 260, 258}));
  // From double in one step: through float32 the first would become a tie, and go down.
  const double justAboveATie = 2049 + 0x1p-40;
  EXPECT_EQ(through(DataType::float16, std::vector<double>{justAboveATie}), std::vector<double>{2050});
  EXPECT_EQ(through(DataType::float32, std::vector<double>{1 + 0x1p-24, 1 + 0x1.8p-24, 1e300}),
            (std::vector<double>{1, 1 + 0x1p-23, static_cast<double>(kInfinity)}));
}

struct IntegerType {
  DataType type;
  double least, most;
};

TEST(ConversionTest, IntegersRoundClampAndTakeNaNAsZero) {
  for (const auto& [type, least, most] :
       {IntegerType{DataType::int8, -128, 127}, IntegerType{DataType::uInt8, 0, 255},
        IntegerType{DataType::int16, -32768, 32767}, IntegerType{DataType::uInt16, 0, 65535},
        IntegerType{DataType::int32, -0x1p31, 0x1p31 - 1}, IntegerType{DataType::uInt32, 0, 0x1p32 - 1}}) {
    SCOPED_TRACE(name(type));
    EXPECT_EQ(through(type, std::vector<double>{0, 1, 100, 0.5, 1.5, 2.5, 2.4999}),
              (std::vector<double>{0, 1, 100, 0, 2, 2, 2}));
    EXPECT_EQ(through(type, std::vector<double>{least, most, least - 1, most + 1, -1e30, 1e30, NAN,
                                                static_cast<double>(kInfinity), -static_cast<double>(kInfinity)}),
              (std::vector<double>{least, most, least, most, least, most, 0, most, least}));
    EXPECT_EQ(through(type, std::vector<float>{-1e30f, 1e30f, NAN}).back(), 0);
  }
  // 64 bits are more than a double holds.
  EXPECT_EQ(through(DataType::int64, std::vector<double>{-1e30, 1e30, -7, NAN}),
            (std::vector<double>{-0x1p63, 0x1p63, -7, 0}));
  EXPECT_EQ(through(DataType::uInt64, std::vector<double>{-1, 1e30, 7, NAN}), (std::vector<double>{0, 0x1p64, 7, 0}));
}

TEST(ConversionTest, IntegersOfTheHostClampToo) {
  constexpr std::uint32_t kMost = 0xffffffffu;
  constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
  EXPECT_EQ(through(DataType::int32, std::vector<std::uint32_t>{5, kMost}),
            (std::vector<std::uint32_t>{5, 0x7fffffffu}));
  EXPECT_EQ(through(DataType::uInt32, std::vector<std::int32_t>{5, kLeast}), (std::vector<std::int32_t>{5, 0}));
  EXPECT_EQ(through(DataType::uInt32, std::vector<std::uint32_t>{kMost, 0}), (std::vector<std::uint32_t>{kMost, 0}));
  EXPECT_EQ(through(DataType::int64, std::vector<std::uint32_t>{kMost}), std::vector<std::uint32_t>{kMost});
  EXPECT_EQ(through(DataType::int8, std::vector<std::int32_t>{200, -200}), (std::vector<std::int32_t>{127, -128}));
  EXPECT_EQ(through(DataType::uInt8, std::vector<std::uint8_t>{0, 255}), (std::vector<std::uint8_t>{0, 255}));
  EXPECT_EQ(through(DataType::int8, std::vector<std::uint8_t>{127, 255}), (std::vector<std::uint8_t>{127, 127}));
  EXPECT_EQ(through(DataType::float32, std::vector<std::int32_t>{16777217, kLeast}),
            (std::vector<std::int32_t>{16777216, kLeast}));
  // Reading converts as writing does.
  const Matrix matrix(kDevice, {.rows = 1, .columns = 5});
  matrix.write(std::vector<float>{-1, 2.5f, 1000, 1e20f, NAN});
  EXPECT_EQ(matrix.read<std::uint8_t>(), (std::vector<std::uint8_t>{0, 2, 255, 255, 0}));
  EXPECT_EQ(matrix.read<std::int32_t>(), (std::vector<std::int32_t>{-1, 2, 1000, 0x7fffffff, 0}));
  EXPECT_EQ(matrix.read<std::uint32_t>(), (std::vector<std::uint32_t>{0, 2, 1000, kMost, 0}));
}

TEST(ConversionTest, NormalizedIntegersStandForFractions) {
  const Matrix matrix(kDevice, {.rows = 1, .columns = 5, .dataType = DataType::unorm8});
  matrix.write(std::vector<float>{0, 1, 0.5f, -3, 9});
  EXPECT_EQ(matrix.data().read(),
            (std::vector<std::byte>{std::byte{0}, std::byte{255}, std::byte{128}, std::byte{0}, std::byte{255}}));
  EXPECT_EQ(matrix.read<float>(), (std::vector<float>{0, 1, static_cast<float>(128 / 255.0), 0, 1}));
  matrix.write(std::vector<float>(5, NAN));
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(5));
}

TEST(ConversionTest, BooleansAreZeroOrOne) {
  EXPECT_EQ(through(DataType::bool_, std::vector<float>{0, -0.0f, 0.25f, -7}), (std::vector<float>{0, 0, 1, 1}));
  EXPECT_EQ(through(DataType::bool_, std::vector<std::uint32_t>{0, 256}), (std::vector<std::uint32_t>{0, 1}));
  // A caller's bytes may hold anything.
  const std::byte bytes[] = {std::byte{0}, std::byte{1}, std::byte{2}, std::byte{255}};
  const Vector vector(kDevice.makeBuffer(bytes, sizeof(bytes)), {.length = 4, .dataType = DataType::bool_});
  EXPECT_EQ(vector.read<float>(), (std::vector<float>{0, 1, 1, 1}));
}

TEST(DataTypeTest, KnowsNamesAndSizes) {
  EXPECT_EQ(name(DataType::bFloat16), "bFloat16");
  EXPECT_EQ(name(DataType::bool_), "bool_");
  EXPECT_EQ(name(static_cast<DataType>(77)), "unknown");
  EXPECT_EQ(sizeOfDataType(DataType::float16), 2u);
  EXPECT_EQ(sizeOfDataType(DataType::unorm1), 0u);
  EXPECT_EQ(dataTypeBitsCount(DataType::complexFloat32), 64u);
  EXPECT_EQ(static_cast<std::uint32_t>(DataType::bFloat16), 0x90000010u);
  EXPECT_EQ(static_cast<std::uint32_t>(DataType::complexFloat16), 0x11000020u);
}

}  // namespace
}  // namespace metalloid
