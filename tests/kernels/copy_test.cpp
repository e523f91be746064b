#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_copy.hpp>

#include <numeric>
#include <vector>

namespace metalloid::test {
namespace {

class CopyValues : public OnDevice {};
class CopyChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, CopyValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, CopyChecks, testing::Values("reference", "cpu", "null"), deviceName);

/// A matrix of 10*i + j, or of zeros.
Matrix numbered(const Device& device, std::size_t rows, std::size_t columns, const Layout& layout = {}) {
  std::vector<float> values;
  for (std::size_t k = 0; k < layout.count; ++k) {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) values.push_back(static_cast<float>(100 * k + 10 * i + j));
    }
  }
  return matrixOf(device, rows, columns, values, layout);
}
Matrix zeros(const Device& device, std::size_t rows, std::size_t columns, const Layout& layout = {}) {
  return matrixOf(device, rows, columns, std::vector<float>(layout.count * rows * columns), layout);
}
Vector indices(const Device& device, const std::vector<std::uint32_t>& values) { return labelsOf(device, values); }

void copy(const MatrixCopy& kernel, const MatrixCopy::Arguments& arguments) {
  execute(kernel.device(), [&](CommandBuffer& commands) { kernel.encode(commands, arguments); });
}

using Values = std::vector<float>;

/// The stored bytes after a failure, which an ordered read would report again.
std::vector<std::byte> bytesOf(const Matrix& matrix) {
  const auto contents = matrix.data().contents();
  return {contents.begin(), contents.end()};
}

TEST_P(CopyValues, takesARegionToARegion) {
  const Matrix from = numbered(device, 3, 4), to = zeros(device, 4, 4);
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 3}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = from,
                                                .destinationMatrix = to,
                                                .offsets = {.sourceRowOffset = 1,
                                                            .sourceColumnOffset = 1,
                                                            .destinationRowOffset = 2,
                                                            .destinationColumnOffset = 0}})});
  EXPECT_EQ(to.read<float>(), (Values{0, 0, 0, 0,     //
                                      0, 0, 0, 0,     //
                                      11, 12, 13, 0,  //
                                      21, 22, 23, 0}));
}

TEST_P(CopyValues, transposesSourcesAndDestinations) {
  const Matrix from = numbered(device, 3, 4);
  for (const bool source : {false, true}) {
    for (const bool destination : {false, true}) {
      // Two rows and three columns of what is copied, from stored row 1 and column 1, or of the transposed matrix.
      const Matrix to = zeros(device, 4, 4), stored = source ? numbered(device, 4, 3) : from;
      copy(MatrixCopy(device, {.copyRows = 2,
                               .copyColumns = 3,
                               .sourcesAreTransposed = source,
                               .destinationsAreTransposed = destination}),
           {.copyDescriptor =
                MatrixCopyDescriptor({.sourceMatrix = stored, .destinationMatrix = to, .offsets = {1, 1, 0, 1}})});
      Values expected(16);
      for (std::size_t i = 0; i < 2; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
          const float value = static_cast<float>(source ? 10 * (1 + j) + 1 + i : 10 * (1 + i) + 1 + j);
          expected[destination ? j * 4 + 1 + i : i * 4 + 1 + j] = value;
        }
      }
      EXPECT_EQ(to.read<float>(), expected) << source << destination;
    }
  }
}

TEST_P(CopyValues, permutationsScatter) {
  const Matrix from = numbered(device, 3, 3), to = zeros(device, 3, 3);
  copy(MatrixCopy(device, {.copyRows = 3, .copyColumns = 3}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = from, .destinationMatrix = to}),
        .rowPermuteIndices = indices(device, {9, 2, 0, 1}),
        .rowPermuteOffset = 1,
        .columnPermuteIndices = indices(device, {1, 2, 0}),
        .columnPermuteOffset = 0});
  // Row 0 goes to row 2, row 1 to row 0, row 2 to row 1; column 0 to column 1, 1 to 2, 2 to 0.
  EXPECT_EQ(to.read<float>(), (Values{12, 10, 11, 22, 20, 21, 2, 0, 1}));
}

TEST_P(CopyValues, permutationsActOnRowsAsTheDestinationStoresThem) {
  // Two rows and three columns, stored as three rows and two columns: rowPermuteIndices has three, one for each stored
  // row. Were it applied before the transposition, two would do, and the result would be another.
  const Matrix from = numbered(device, 2, 3), to = zeros(device, 3, 2);
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 3, .destinationsAreTransposed = true}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = from, .destinationMatrix = to}),
        .rowPermuteIndices = indices(device, {1, 2, 0}),
        .columnPermuteIndices = indices(device, {1, 0})});
  // Transposed it is {0, 10 / 1, 11 / 2, 12}.
  EXPECT_EQ(to.read<float>(), (Values{12, 2, 10, 0, 11, 1}));
}

TEST_P(CopyValues, severalCopiesShareMatrices) {
  // Two matrices become the halves of one; a third copy reads where none writes.
  const Matrix a = numbered(device, 2, 2), b = zeros(device, 2, 2), to = zeros(device, 2, 6);
  b.write(Values{7, 8, 9, 6});
  MatrixCopyDescriptor descriptor(device, 3);
  descriptor.setCopyOperationAt(0, {.sourceMatrix = a, .destinationMatrix = to});
  descriptor.setCopyOperationAt(1, {.sourceMatrix = b, .destinationMatrix = to, .offsets = {0, 0, 0, 2}});
  descriptor.setCopyOperationAt(2, {.sourceMatrix = a, .destinationMatrix = to, .offsets = {0, 0, 0, 4}});
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 2}), {.copyDescriptor = descriptor});
  EXPECT_EQ(to.read<float>(), (Values{0, 1, 7, 8, 0, 1, 10, 11, 9, 6, 10, 11}));
}

TEST_P(CopyValues, offsetsAreReadAtExecution) {
  const Matrix a = numbered(device, 3, 3), to = zeros(device, 2, 4);
  const Vector offsets = indices(device, {99, 99, 99, 99, 0, 0, 0, 0, 0, 0, 0, 0});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  MatrixCopy(device, {.copyRows = 2, .copyColumns = 2})
      .encode(
          commands,
          {.copyDescriptor = MatrixCopyDescriptor(
               {.sourceMatrices = {a, a}, .destinationMatrices = {to, to}, .offsetVector = offsets, .offset = 16})});
  offsets.write(std::vector<std::uint32_t>{99, 99, 99, 99, 1, 1, 0, 2, 0, 1, 0, 0});
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(to.read<float>(), (Values{1, 2, 11, 12, 11, 12, 21, 22}));
}

TEST_P(CopyValues, withoutAnOffsetVectorOffsetsAreZero) {
  const Matrix a = numbered(device, 2, 2), to = zeros(device, 3, 3);
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 2}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrices = {a}, .destinationMatrices = {to}})});
  EXPECT_EQ(to.read<float>(), (Values{0, 1, 0, 10, 11, 0, 0, 0, 0}));
}

TEST_P(CopyValues, withinOneMatrixWhereRegionsAreApart) {
  const Matrix a = numbered(device, 2, 4);
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 2}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = a, .destinationMatrix = a, .offsets = {0, 0, 0, 2}})});
  EXPECT_EQ(a.read<float>(), (Values{0, 1, 0, 1, 10, 11, 10, 11}));
}

TEST_P(CopyValues, inEveryLayoutAndTypeBitForBit) {
  for (const DataType type : {DataType::float32, DataType::float16, DataType::bFloat16, DataType::int8, DataType::uInt8,
                              DataType::int16, DataType::uInt32, DataType::int64, DataType::uInt64}) {
    for (const Layout& layout : layouts(type, 2)) {
      const Matrix from = makeMatrix(device, 5, 6, layout), to = makeMatrix(device, 6, 7, layout);
      const Buffer buffer = from.data();
      std::vector<std::byte> bytes(buffer.length());
      for (std::size_t b = 0; b < bytes.size(); ++b) bytes[b] = static_cast<std::byte>(0x81 + 37 * b);  // NaN and all
      buffer.write(bytes);
      const Guard guard(to);
      copy(MatrixCopy(device, {.copyRows = 3, .copyColumns = 4}),
           {.copyDescriptor =
                MatrixCopyDescriptor({.sourceMatrix = from, .destinationMatrix = to, .offsets = {1, 2, 3, 1}})});
      guard.expectUntouchedOutside({3, 1}, 3, 4, 0, 1);  // of several matrices the first
      const auto after = to.data().read();
      const std::size_t size = sizeOfDataType(type);
      for (std::size_t i = 0; i < 3; ++i) {
        const auto source = static_cast<std::ptrdiff_t>(from.offset() + (1 + i) * from.rowBytes() + 2 * size);
        const auto destination = static_cast<std::ptrdiff_t>(to.offset() + (3 + i) * to.rowBytes() + size);
        EXPECT_TRUE(std::equal(bytes.begin() + source, bytes.begin() + source + static_cast<std::ptrdiff_t>(4 * size),
                               after.begin() + destination))
            << name(type);
      }
    }
  }
}

// --- What only the execution knows
// -------------------------------------------------------------------------------------

TEST_P(CopyValues, offsetsOutsideFailBeforeAnythingIsWritten) {
  const Matrix a = numbered(device, 3, 3), to = zeros(device, 4, 5);
  const auto before = bytesOf(to);
  const auto fails = [&](const std::vector<std::uint32_t>& offsets, std::initializer_list<std::string_view> parts) {
    const Error error = executeToFailure(device, [&](CommandBuffer& commands) {
      MatrixCopy kernel(device, {.copyRows = 2, .copyColumns = 3});
      kernel.label = "gather";
      kernel.encode(commands, {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrices = {a, a},
                                                                       .destinationMatrices = {to, to},
                                                                       .offsetVector = indices(device, offsets)})});
    });
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    for (const auto part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << part << " in " << error.what();
    }
    EXPECT_EQ(bytesOf(to), before);
  };
  fails({0, 0, 0, 0, 2, 0, 2, 0},
        {"Copy operation 1 of 2 needs 2 rows and 3 columns of its source from row 2, column 0", "3 rows and 3 columns",
         "While executing MatrixCopy \"gather\""});
  fails({0, 0, 0, 0, 0, 1, 2, 0}, {"source from row 0, column 1"});
  fails({0, 0, 0, 0, 0, 0, 3, 0},
        {"Copy operation 1 of 2", "destination from row 3, column 0", "4 rows and 5 columns"});
  fails({0, 0, 0, 3, 0, 0, 2, 0}, {"Copy operation 0 of 2", "destination from row 0, column 3"});
  fails({0xffffffffu, 0, 0, 0, 0, 0, 2, 0}, {"row 4294967295"});
}

TEST_P(CopyValues, indicesOutsideFailBeforeAnythingIsWritten) {
  const Matrix a = numbered(device, 2, 2), to = zeros(device, 3, 4);
  const auto before = bytesOf(to);
  const auto fails = [&](const Vector& rows, const Vector& columns, std::initializer_list<std::string_view> parts) {
    const Error error = executeToFailure(device, [&](CommandBuffer& commands) {
      MatrixCopyDescriptor descriptor(device, 2);
      descriptor.setCopyOperationAt(0, {.sourceMatrix = a, .destinationMatrix = to});
      descriptor.setCopyOperationAt(1, {.sourceMatrix = a, .destinationMatrix = to, .offsets = {0, 0, 1, 2}});
      MatrixCopy(device, {.copyRows = 2, .copyColumns = 2})
          .encode(commands, {.copyDescriptor = descriptor, .rowPermuteIndices = rows, .columnPermuteIndices = columns});
    });
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    for (const auto part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << part << " in " << error.what();
    }
    EXPECT_EQ(bytesOf(to), before);
  };
  fails(indices(device, {1, 2}), {}, {"Index 1 of rowPermuteIndices is 2", "copy operation 1 of 2", "2 rows"});
  fails({}, indices(device, {2, 0}), {"Index 0 of columnPermuteIndices is 2", "copy operation 1 of 2", "2 columns"});
}

// --- What encode refuses
// -----------------------------------------------------------------------------------------------

TEST_P(CopyChecks, descriptorsRefuseWhatDoesNotFit) {
  const Matrix a = makeMatrix(device, 2, 2), b = makeMatrix(device, 2, 2);
  using D = MatrixCopyDescriptor;
  expectRefused([&] { D d({.sourceMatrix = {}, .destinationMatrix = b}); },
                {"The sourceMatrix of copy operation 0 is nil."});
  expectRefused([&] { D d({.sourceMatrix = a, .destinationMatrix = {}}); },
                {"The destinationMatrix of copy operation 0 is nil."});
  expectRefused(
      [&] {
        D d({.sourceMatrices = {a, a}, .destinationMatrices = {b}});
      },
      {"2 sourceMatrices, but 1 destinationMatrices"});
  expectRefused(
      [&] {
        D d({.sourceMatrices = {a, Matrix()}, .destinationMatrices = {b, b}});
      },
      {"The sourceMatrix of copy operation 1 is nil."});
  const auto withOffsets = [&](const Vector& offsets, std::size_t offset) {
    return [&, offsets, offset] {
      D d({.sourceMatrices = {a, a}, .destinationMatrices = {b, b}, .offsetVector = offsets, .offset = offset});
    };
  };
  expectRefused(withOffsets(makeVector(device, 8), 0), {"offsetVector", "float32", "uInt32"});
  expectRefused(withOffsets(makeVector(device, 12, {.type = DataType::uInt32}), 8), {"offset", "8", "multiple of 16"});
  expectRefused(withOffsets(makeVector(device, 7, {.type = DataType::uInt32}), 0), {"7 elements", "2 copies"});
  expectRefused(withOffsets(makeVector(device, 8, {.type = DataType::uInt32}), 16), {"8 elements", "byte 16"});
  expectRefused(withOffsets(makeVector(device, 8, {.type = DataType::uInt32}), all - 15), {"8 elements"});

  expectRefused([&] { D d(Device(), 2); }, {"The device of a MatrixCopyDescriptor is nil."});
  D slots(device, 2);
  EXPECT_EQ(slots.count(), 2u);
  expectRefused([&] { slots.setCopyOperationAt(2, {.sourceMatrix = a, .destinationMatrix = b}); },
                {"Copy operation 2", "has 2 of them"});
  expectRefused([&] { slots.setCopyOperationAt(1, {.sourceMatrix = a, .destinationMatrix = {}}); },
                {"The destinationMatrix of copy operation 1 is nil."});
  expectRefused([&] { slots.setCopyOperationAt(1, {.sourceMatrix = makeMatrix(other, 2, 2), .destinationMatrix = b}); },
                {"Copy operation 1", "on device " + other.name(), "for device " + device.name()});
  D read({.sourceMatrices = {a}, .destinationMatrices = {b}, .offsetVector = indices(device, {0, 0, 0, 0})});
  expectRefused([&] { read.setCopyOperationAt(0, {.sourceMatrix = a, .destinationMatrix = b}); },
                {"takes its offsets from a vector"});
}

TEST_P(CopyChecks, refusesWhatDoesNotFit) {
  using D = MatrixCopyDescriptor;
  const MatrixCopy kernel(device, {.copyRows = 2, .copyColumns = 3});
  const Matrix a = makeMatrix(device, 4, 6), b = makeMatrix(device, 4, 6);
  a.setLabel("a");
  const auto refused = [&](const MatrixCopy& k, const MatrixCopy::Arguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { k.encode(commands, arguments); }, parts);
  };
  const auto one = [&](const Matrix& from, const Matrix& to, MatrixCopyOffsets offsets = {}) {
    return MatrixCopy::Arguments{.copyDescriptor =
                                     D({.sourceMatrix = from, .destinationMatrix = to, .offsets = offsets})};
  };
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) { kernel.encode(commands, one(a, b)); });
  refused(kernel, one(a, makeMatrix(other, 4, 6)), {"destinationMatrix", "is on device " + other.name()});
  refused(kernel, one(a, b, {3, 0, 0, 0}), {"Matrix \"a\" (sourceMatrix)", "1 rows", "origin (3, 0)", "2 rows"});
  refused(kernel, one(a, b, {0, 4, 0, 0}), {"sourceMatrix", "2 columns", "3 columns"});
  refused(kernel, one(a, b, {5, 0, 0, 0}), {"sourceMatrix", "row 5", "4 rows"});
  refused(kernel, one(a, b, {0, 0, 3, 0}), {"destinationMatrix", "1 rows"});
  refused(kernel, one(a, b, {0, 0, 0, 4}), {"destinationMatrix", "2 columns"});
  refused(kernel, one(a, makeMatrix(device, 4, 6, {.type = DataType::float16})),
          {"float32", "float16", "does not convert"});
  refused(kernel, one(a, makeMatrix(device, 4, 6, {.count = 0})), {"destinationMatrix", "holds no matrix"});
  refused(MatrixCopy(device, {.copyRows = 5, .copyColumns = 1, .sourcesAreTransposed = true}), one(a, b),
          {"destinationMatrix", "5 rows"});
  refused(MatrixCopy(device, {.copyRows = 1, .copyColumns = 5, .sourcesAreTransposed = true}), one(a, b),
          {"sourceMatrix", "5 rows"});
  refused(MatrixCopy(device, {.copyRows = 1, .copyColumns = 5, .destinationsAreTransposed = true}), one(a, b),
          {"destinationMatrix", "5 rows"});
  refused(MatrixCopy(device, {.copyRows = all, .copyColumns = all}), one(a, b), {"sourceMatrix"});

  // Overlaps.
  refused(kernel, one(a, a), {"Matrix \"a\" (sourceMatrix)", "Matrix \"a\" (destinationMatrix)", "overlap"});
  refused(kernel, one(a, a, {0, 0, 1, 1}), {"overlap"});
  D both(device, 2);
  both.setCopyOperationAt(0, {.sourceMatrix = a, .destinationMatrix = b});
  refused(kernel, {.copyDescriptor = both}, {"Copy operation 1 of 2 is not set."});
  both.setCopyOperationAt(1, {.sourceMatrix = a, .destinationMatrix = b, .offsets = {0, 0, 1, 2}});
  refused(kernel, {.copyDescriptor = both}, {"destinationMatrix 0", "destinationMatrix 1", "overlap"});
  both.setCopyOperationAt(1,
                          {.sourceMatrix = b, .destinationMatrix = makeMatrix(device, 2, 3), .offsets = {1, 1, 0, 0}});
  refused(kernel, {.copyDescriptor = both}, {"destinationMatrix 0", "sourceMatrix 1", "overlap"});

  // Permutations.
  const auto permuted = [&](const Vector& rows, std::size_t rowOffset, const Vector& columns,
                            std::size_t columnOffset) {
    auto arguments = one(a, b);
    arguments.rowPermuteIndices = rows;
    arguments.rowPermuteOffset = rowOffset;
    arguments.columnPermuteIndices = columns;
    arguments.columnPermuteOffset = columnOffset;
    return arguments;
  };
  refused(kernel, permuted(makeVector(device, 2), 0, {}, 0), {"rowPermuteIndices", "float32", "uInt32"});
  refused(kernel, permuted(indices(device, {0, 1}), 1, {}, 0), {"rowPermuteIndices", "1 elements", "needs 2"});
  refused(kernel, permuted({}, 0, indices(device, {0, 1}), 0), {"columnPermuteIndices", "2 elements", "needs 3"});
  refused(kernel, permuted({}, 0, indices(device, {0, 1, 2}), 4), {"columnPermuteIndices", "element 4"});
  refused(kernel, permuted(labelsOf(other, {0, 1}), 0, {}, 0), {"rowPermuteIndices", other.name()});
  refused(MatrixCopy(device, {.copyRows = 2, .copyColumns = 3, .destinationsAreTransposed = true}),
          permuted(indices(device, {0, 1}), 0, {}, 0), {"rowPermuteIndices", "needs 3"});

  // Indices that lie where one of them could make the copy write, though outside of the region.
  const Matrix words = makeMatrix(device, 4, 6, {.type = DataType::uInt32});
  auto overwritten = one(makeMatrix(device, 4, 6, {.type = DataType::uInt32}), words);
  overwritten.rowPermuteIndices =
      Vector(words.data(), 3 * words.rowBytes(), {.length = 2, .dataType = DataType::uInt32});
  refused(kernel, overwritten, {"rowPermuteIndices", "destinationMatrix", "overlap"});

  // Too small at every offset.
  refused(kernel,
          {.copyDescriptor = D({.sourceMatrices = {makeMatrix(device, 1, 3)},
                                .destinationMatrices = {b},
                                .offsetVector = indices(device, {0, 0, 0, 0})})},
          {"sourceMatrix", "1 rows", "2 rows"});
}

TEST_P(CopyChecks, nothingToCopyIsNoMistake) {
  const Matrix a = makeMatrix(device, 4, 6), b = makeMatrix(device, 4, 6);
  const Guard guard(b);
  copy(MatrixCopy(device, {.copyRows = 2, .copyColumns = 2}), {.copyDescriptor = MatrixCopyDescriptor(device, 0)});
  copy(MatrixCopy(device, {.copyRows = 0, .copyColumns = 2}),
       {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = a, .destinationMatrix = b})});
  guard.expectUntouched();
}

TEST_P(CopyChecks, aTemporarySourceIsReadOnceByAllCopies) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const TemporaryMatrix a(commands, {.rows = 2, .columns = 2});
  const Matrix b = makeMatrix(device, 2, 4);
  MatrixCopyDescriptor descriptor(device, 2);
  descriptor.setCopyOperationAt(0, {.sourceMatrix = a, .destinationMatrix = b});
  descriptor.setCopyOperationAt(1, {.sourceMatrix = a, .destinationMatrix = b, .offsets = {0, 0, 0, 2}});
  a.setReadCount(2);
  MatrixCopy(device, {.copyRows = 2, .copyColumns = 2}).encode(commands, {.copyDescriptor = descriptor});
  EXPECT_EQ(a.readCount(), 1u);
}

TEST_P(CopyChecks, isAKernel) {
  expectRefused([] { MatrixCopy kernel(Device(), {.copyRows = 1, .copyColumns = 1}); },
                {"The device of a MatrixCopy is nil."});
  const auto make = [&](const MatrixCopy::Descriptor& descriptor) {
    MatrixCopy kernel(device, descriptor);
    kernel.label = "gather";
    return kernel;
  };
  const MatrixCopy kernel = make({3, 4, true, true});
  EXPECT_EQ(kernel.copyRows(), 3u);
  EXPECT_EQ(kernel.copyColumns(), 4u);
  EXPECT_TRUE(kernel.sourcesAreTransposed());
  EXPECT_TRUE(kernel.destinationsAreTransposed());
  std::vector<MatrixCopy> changed{make({2, 4, true, true}), make({3, 5, true, true}), make({3, 4, false, true}),
                                  make({3, 4, true, false}), kernel};
  changed.back().label = "scatter";
  expectBehavesAsKernel(kernel, changed, device, "MatrixCopy");
}

}  // namespace
}  // namespace metalloid::test
