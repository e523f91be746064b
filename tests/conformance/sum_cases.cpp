#include "conformance/cases.hpp"
#include "conformance/neurons.hpp"

#include <metalloid/matrix_sum.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace metalloid::conformance {
namespace {

void sum(Trial& t) {
  const std::size_t rows = t.size(0), columns = t.size(1), count = 1 + t.random().below(4);
  const std::size_t start = t.random().below(3);
  const bool transpose = t.choice(), hasScale = t.choice(), hasOffsets = t.choice(), hasBias = t.choice();
  const bool isInPlace = t.choice() && !transpose && !hasOffsets;

  std::vector<Operand*> sources;
  std::vector<std::uint32_t> offsets(2 * start, 0xffffffffu);  // before startIndex nothing may be read
  for (std::size_t i = 0; i < count; ++i) {
    Operand& source = t.matrix("source " + std::to_string(i), rows, columns,
                               {.type = t.types().matrix,
                                .values = t.drawn(t.types().matrix),
                                .origin = hasOffsets ? std::nullopt : std::optional(Origin{})});
    sources.push_back(&source);
    offsets.push_back(static_cast<std::uint32_t>(source.origin.x));
    offsets.push_back(static_cast<std::uint32_t>(source.origin.y));
  }
  const auto& scale = hasScale ? t.vector("scaleVector", start + count,
                                          {.values = t.drawn(DataType::float32), .isShared = true, .hasOrigin = false})
                               : t.absent();
  const auto& offsetVector = hasOffsets ? t.indexVector("offsetVector", offsets) : t.absent();
  const std::size_t resultRows = transpose ? columns : rows, resultColumns = transpose ? rows : columns;
  const auto& bias = hasBias ? t.sourceVector("biasVector", resultColumns, {-1, 1}) : t.absent();
  auto& result = isInPlace ? t.resultOver(*sources[t.random().below(count)], "resultMatrix")
                           : t.result("resultMatrix", resultRows, resultColumns);
  const NeuronExample neuron = someNeuron(t.random(), t.hasSmallIntegers(), true);

  MatrixSum kernel(t.device(), {.count = count, .rows = rows, .columns = columns, .transpose = transpose});
  kernel.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
  kernel.resultMatrixOrigin = result.origin;
  std::vector<Matrix> matrices;
  for (const Operand* source : sources) matrices.push_back(source->matrix);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrices = matrices,
                             .resultMatrix = result.matrix,
                             .scaleVector = scale.vector,
                             .offsetVector = offsetVector.vector,
                             .biasVector = bias.vector,
                             .startIndex = start});
  });

  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      Sum total;
      for (std::size_t i = 0; i < count; ++i) {
        const Approximation factor = scale.atOr(0, start + i, 1.0);
        total.add(hasScale ? factor * sources[i]->at(0, r, c) : Approximation(sources[i]->at(0, r, c)));
      }
      const std::size_t i = transpose ? c : r, j = transpose ? r : c;
      t.expect(result, 0, i, j, neuronValue(neuron, total.result() + bias.atOr(0, j, 0.0)));
    }
  }
}

}  // namespace

std::vector<Case> sumCases() {
  return {{"Sum", sum, kSmallMatrices, kLargeMatrices, 5, Matrices::first, kLayerTypes, true}};
}

}  // namespace metalloid::conformance
