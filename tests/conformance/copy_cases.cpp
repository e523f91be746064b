#include "conformance/cases.hpp"

#include <metalloid/matrix_copy.hpp>

#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::conformance {
namespace {

std::vector<std::uint32_t> permutation(testing::Random& random, std::size_t count) {
  std::vector<std::uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0u);
  for (std::size_t i = count; i > 1; --i) std::swap(indices[i - 1], indices[random.below(i)]);
  return indices;
}

/// A permutation, or none, behind `first` elements that must not be read.
struct Permutation {
  std::vector<std::uint32_t> indices;  // empty: none
  std::size_t first = 0;
  Vector vector;

  Permutation(Trial& t, const char* name, bool isGiven, std::size_t count) {
    if (!isGiven) return;
    indices = permutation(t.random(), count);
    first = t.random().below(4);
    std::vector<std::uint32_t> stored(first, 0xffffffffu);
    stored.insert(stored.end(), indices.begin(), indices.end());
    vector = t.indexVector(name, stored).vector;
  }

  std::size_t operator()(std::size_t i) const { return indices.empty() ? i : indices[i]; }
};

void copy(Trial& t) {
  const std::size_t rows = t.size(0), columns = t.size(1), count = 1 + t.random().below(2);
  const bool fromTransposed = t.choice(), toTransposed = t.choice();
  const bool permutesRows = t.choice(), permutesColumns = t.choice(), hasOffsetVector = t.choice();
  const std::size_t toRows = toTransposed ? columns : rows, toColumns = toTransposed ? rows : columns;

  std::vector<Operand*> sources, destinations;
  std::vector<MatrixCopyOffsets> offsets;
  std::vector<Matrix> from, to;
  const std::size_t skipped = hasOffsetVector ? t.random().below(3) : 0;
  std::vector<std::uint32_t> stored(4 * skipped, 0xffffffffu);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    auto& source =
        fromTransposed ? t.source("source " + number, columns, rows) : t.source("source " + number, rows, columns);
    auto& destination = t.result("destination " + number, toRows, toColumns);
    sources.push_back(&source);
    destinations.push_back(&destination);
    from.push_back(source.matrix);
    to.push_back(destination.matrix);
    const auto small = [](std::size_t value) { return static_cast<std::uint32_t>(value); };
    offsets.push_back(
        {small(source.origin.x), small(source.origin.y), small(destination.origin.x), small(destination.origin.y)});
    const auto& o = offsets.back();
    stored.insert(stored.end(),
                  {o.sourceRowOffset, o.sourceColumnOffset, o.destinationRowOffset, o.destinationColumnOffset});
  }
  const Permutation rowPermute(t, "rowPermuteIndices", permutesRows, toRows);
  const Permutation columnPermute(t, "columnPermuteIndices", permutesColumns, toColumns);

  MatrixCopyDescriptor descriptor(t.device(), count);
  if (hasOffsetVector) {
    descriptor = MatrixCopyDescriptor({.sourceMatrices = from,
                                       .destinationMatrices = to,
                                       .offsetVector = t.indexVector("offsetVector", stored).vector,
                                       .offset = skipped * sizeof(MatrixCopyOffsets)});
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      descriptor.setCopyOperationAt(i, {.sourceMatrix = from[i], .destinationMatrix = to[i], .offsets = offsets[i]});
    }
  }
  const MatrixCopy kernel(t.device(), {.copyRows = rows,
                                       .copyColumns = columns,
                                       .sourcesAreTransposed = fromTransposed,
                                       .destinationsAreTransposed = toTransposed});
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.copyDescriptor = descriptor,
                             .rowPermuteIndices = rowPermute.vector,
                             .rowPermuteOffset = rowPermute.first,
                             .columnPermuteIndices = columnPermute.vector,
                             .columnPermuteOffset = columnPermute.first});
  });

  for (std::size_t item = 0; item < count; ++item) {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        const double value = fromTransposed ? sources[item]->at(0, j, i) : sources[item]->at(0, i, j);
        t.expect(*destinations[item], 0, rowPermute(toTransposed ? j : i), columnPermute(toTransposed ? i : j), value);
      }
    }
  }
}

constexpr Types only(const char* name, DataType type) { return {name, type, type, type}; }

}  // namespace

std::vector<Case> copyCases() {
  const std::vector<Types> types = {kFloat32, kFloat16, only("i8", DataType::int8), only("u16", DataType::uInt16),
                                    only("i64", DataType::int64)};
  return {{"Copy", copy, kSmallMatrices, kLargeMatrices, 5, Matrices::first, types}};
}

}  // namespace metalloid::conformance
