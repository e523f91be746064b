#include "operations/copy.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"

#include <vector>

namespace metalloid::cuda {
namespace {

using operations::MatrixCopy;

struct Items {
  static constexpr std::size_t kMost = 24;
  MatrixCopy::Item item[kMost];
  std::uint32_t count;
  std::uint32_t first;
};

/// What is left of the operation without its list.
struct Shape {
  VectorView offsets, rowPermute, columnPermute;
  std::size_t rows, columns;
  bool sourcesAreTransposed, destinationsAreTransposed;
};

struct Origins {
  std::size_t sourceRow, sourceColumn, destinationRow, destinationColumn;
};

__device__ Origins originsOf(const Shape& o, const MatrixCopy::Item& item, std::size_t m) {
  if (!o.offsets.data) return {item.sourceRow, item.sourceColumn, item.destinationRow, item.destinationColumn};
  return {word(o.offsets, 0, 4 * m), word(o.offsets, 0, 4 * m + 1), word(o.offsets, 0, 4 * m + 2),
          word(o.offsets, 0, 4 * m + 3)};
}

__device__ bool fits(std::size_t start, std::size_t count, std::size_t size) {
  return start <= size && count <= size - start;
}

/// Every region lies in its matrix, and every index of a permutation leads into every destination. One block.
__global__ void checkKernel(Items items, Shape o, std::uint32_t* violation, std::uint32_t place) {
  __shared__ unsigned long long limits[2];
  if (threadIdx.x < 2) limits[threadIdx.x] = ~0ull;
  __syncthreads();
  const std::size_t sourceRows = o.sourcesAreTransposed ? o.columns : o.rows;
  const std::size_t sourceColumns = o.sourcesAreTransposed ? o.rows : o.columns;
  const std::size_t rows = o.destinationsAreTransposed ? o.columns : o.rows;
  const std::size_t columns = o.destinationsAreTransposed ? o.rows : o.columns;
  bool isRight = true;
  for (std::uint32_t n = threadIdx.x; n < items.count; n += blockDim.x) {
    const auto& item = items.item[n];
    const Origins at = originsOf(o, item, items.first + n);
    isRight = isRight && fits(at.sourceRow, sourceRows, item.source.rows) &&
              fits(at.sourceColumn, sourceColumns, item.source.columns) &&
              fits(at.destinationRow, rows, item.destination.rows) &&
              fits(at.destinationColumn, columns, item.destination.columns);
    if (!isRight) break;
    atomicMin(&limits[0], static_cast<unsigned long long>(item.destination.rows - at.destinationRow));
    atomicMin(&limits[1], static_cast<unsigned long long>(item.destination.columns - at.destinationColumn));
  }
  __syncthreads();
  if (o.rowPermute.data) {
    for (std::size_t n = threadIdx.x; n < rows; n += blockDim.x)
      isRight = isRight && word(o.rowPermute, 0, n) < limits[0];
  }
  if (o.columnPermute.data) {
    for (std::size_t n = threadIdx.x; n < columns; n += blockDim.x) {
      isRight = isRight && word(o.columnPermute, 0, n) < limits[1];
    }
  }
  if (!isRight) atomicMin(violation, place);
}

void runPlain(const MatrixCopy& operation, Context& context) {
  if (operation.rows == 0 || operation.columns == 0) return;
  const Shape o{operation.offsets,
                operation.rowPermute,
                operation.columnPermute,
                operation.rows,
                operation.columns,
                operation.sourcesAreTransposed,
                operation.destinationsAreTransposed};
  std::uint32_t* const violation = context.violation;
  const bool isChecked = o.offsets.data || o.rowPermute.data || o.columnPermute.data;
  if (isChecked) {
    for (std::size_t first = 0; first < operation.items.size(); first += Items::kMost) {
      Items items{};
      items.first = static_cast<std::uint32_t>(first);
      items.count = static_cast<std::uint32_t>(std::min(Items::kMost, operation.items.size() - first));
      std::copy_n(operation.items.begin() + static_cast<std::ptrdiff_t>(first), items.count, items.item);
      context.launch(checkKernel, 1, 256, items, o, violation, context.operation);
    }
  }
  // One after the other, as later copies may write where earlier ones have.
  for (std::size_t m = 0; m < operation.items.size(); ++m) {
    const MatrixCopy::Item item = operation.items[m];
    forEachElement(context, {1, o.rows, o.columns},
                   [o, item, m, isChecked, violation] __device__(std::size_t, std::size_t i, std::size_t j) {
                     if (isChecked && hasViolation(violation)) return;
                     const Origins origin = originsOf(o, item, m);
                     const std::size_t fromRow = o.sourcesAreTransposed ? j : i;
                     const std::size_t fromColumn = o.sourcesAreTransposed ? i : j;
                     std::size_t toRow = o.destinationsAreTransposed ? j : i;
                     std::size_t toColumn = o.destinationsAreTransposed ? i : j;
                     // Permutations act on rows and columns as they are stored.
                     if (o.rowPermute.data) toRow = word(o.rowPermute, 0, toRow);
                     if (o.columnPermute.data) toColumn = word(o.columnPermute, 0, toColumn);
                     const std::byte* const from =
                         address(item.source, 0, origin.sourceRow + fromRow, origin.sourceColumn + fromColumn);
                     std::byte* const to = address(item.destination, 0, origin.destinationRow + toRow,
                                                   origin.destinationColumn + toColumn);
                     switch (sizeOf(item.source.type)) {
                       case 1:
                         *to = *from;
                         return;
                       case 2:
                         *reinterpret_cast<std::uint16_t*>(to) = *reinterpret_cast<const std::uint16_t*>(from);
                         return;
                       case 4:
                         *reinterpret_cast<std::uint32_t*>(to) = *reinterpret_cast<const std::uint32_t*>(from);
                         return;
                       default:
                         *reinterpret_cast<std::uint64_t*>(to) = *reinterpret_cast<const std::uint64_t*>(from);
                     }
                   });
  }
}

const char* refusesCopyEngine(const MatrixCopy& o, const Context&) {
  if (o.offsets || o.rowPermute || o.columnPermute) return "offsets or permutations stand in device memory";
  if (o.sourcesAreTransposed || o.destinationsAreTransposed) return "it transposes";
  constexpr std::size_t kLongestPitch = 0x7fffffffu;
  for (const auto& item : o.items) {
    if (item.source.rowBytes > kLongestPitch || item.destination.rowBytes > kLongestPitch) return "a row is too long";
  }
  return nullptr;
}

/// Rectangles of bytes, at the speed of memory.
void runCopyEngine(const MatrixCopy& o, Context& context) {
  if (o.rows == 0 || o.columns == 0) return;
  for (const auto& item : o.items) {
    const std::size_t size = sizeOf(item.source.type), width = o.columns * size;
    const auto pitch = [&](const MatrixView& view) { return std::max(view.rowBytes, width); };
    const std::byte* const from = item.source.data + item.sourceRow * item.source.rowBytes + item.sourceColumn * size;
    std::byte* const to =
        item.destination.data + item.destinationRow * item.destination.rowBytes + item.destinationColumn * size;
    if (width == item.source.rowBytes && width == item.destination.rowBytes) {  // twice as fast as a rectangle
      check(cudaMemcpyAsync(to, from, width * o.rows, cudaMemcpyDeviceToDevice, context.stream),
            "A copy did not start");
      continue;
    }
    check(cudaMemcpy2DAsync(to, pitch(item.destination), from, pitch(item.source), width, o.rows,
                            cudaMemcpyDeviceToDevice, context.stream),
          "A copy did not start");
  }
}

constexpr std::array<Candidate<MatrixCopy>, 2> kCandidates = {
    {{"memory copy", refusesCopyEngine, runCopyEngine}, {"plain", acceptsAll, runPlain}}};

}  // namespace

void run(const MatrixCopy& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
