#include "operations/sum.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixSum;

/// Sources travel as kernel arguments; more than fit are added in several launches, through scratch memory.
struct Sources {
  static constexpr std::size_t kMost = 32;
  MatrixView view[kMost];
  std::uint32_t count;
  std::uint32_t first;  // the place of the first in the operation
};

/// What is left of the operation without its list.
struct Shape {
  VectorView scale, offsets, bias;
  MatrixView result;
  std::size_t rows, columns;
  bool transpose;
  math::Neuron neuron;
};

__device__ std::uint32_t offset(const VectorView& offsets, std::size_t index) {
  return offsets.data ? word(offsets, 0, index) : 0;
}

__global__ void checkKernel(Sources sources, Shape o, std::uint32_t* violation, std::uint32_t place) {
  for (std::uint32_t n = threadIdx.x; n < sources.count; n += blockDim.x) {
    const auto& source = sources.view[n];
    const std::size_t row = offset(o.offsets, 2 * (sources.first + n));
    const std::size_t column = offset(o.offsets, 2 * (sources.first + n) + 1);
    const bool fits = row <= source.rows && o.rows <= source.rows - row && column <= source.columns &&
                      o.columns <= source.columns - column;
    if (!fits) atomicMin(violation, place);
  }
}

void runPlain(const MatrixSum& operation, Context& context) {
  const Shape o{operation.scale, operation.offsets, operation.bias,      operation.result,
                operation.rows,  operation.columns, operation.transpose, operation.neuron};
  std::uint32_t* const violation = context.violation;
  const std::size_t total = operation.sources.size();
  const auto part = [&](std::size_t first) {
    Sources sources{};
    sources.first = static_cast<std::uint32_t>(first);
    sources.count = static_cast<std::uint32_t>(std::min(Sources::kMost, total - first));
    std::copy_n(operation.sources.begin() + static_cast<std::ptrdiff_t>(first), sources.count, sources.view);
    return sources;
  };
  if (operation.offsets) {
    for (std::size_t first = 0; first < total; first += Sources::kMost) {
      context.launch(checkKernel, 1, 32, part(first), o, violation, context.operation);
    }
  }
  double* const partial =
      total > Sources::kMost && o.rows * o.columns > 0 ? context.scratch<double>(o.rows * o.columns) : nullptr;
  for (std::size_t first = 0; first < total; first += Sources::kMost) {
    const Sources sources = part(first);
    const bool isLast = first + sources.count == total;
    forEachElement(context, {1, o.rows, o.columns},
                   [o, sources, partial, isLast, violation] __device__(std::size_t, std::size_t r, std::size_t c) {
                     if (o.offsets.data && hasViolation(violation)) return;
                     double sum = sources.first > 0 ? partial[r * o.columns + c] : 0;
                     for (std::uint32_t n = 0; n < sources.count; ++n) {
                       const std::uint32_t i = sources.first + n;
                       sum += atOr(o.scale, 0, i, 1) *
                              at(sources.view[n], 0, offset(o.offsets, 2 * i) + r, offset(o.offsets, 2 * i + 1) + c);
                     }
                     if (!isLast) {
                       partial[r * o.columns + c] = sum;
                       return;
                     }
                     const std::size_t row = o.transpose ? c : r, column = o.transpose ? r : c;
                     const double z = o.bias.data ? sum + at(o.bias, 0, column) : sum;
                     if (o.neuron.type == CNNNeuronType::none) {
                       set(o.result, 0, row, column, z);
                     } else {
                       set(o.result, 0, row, column, neuronValue(o.neuron, static_cast<float>(z), 0));
                     }
                   });
  }
}

}  // namespace

void run(const MatrixSum& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<MatrixSum, runPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
