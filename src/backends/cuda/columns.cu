#include "backends/cuda/columns.cuh"

#include "backends/cuda/column_pass.cuh"
#include "backends/cuda/pixel_sums.cuh"

namespace metalloid::cuda {
namespace {

template <class T>
struct SumBody {
  struct Nothing {};
  using Row = uint4;

  MatrixView matrix;
  VectorView result;

  __device__ Nothing columns(std::size_t) const { return {}; }
  __device__ Row load(std::size_t i, std::size_t j) const {
    return *reinterpret_cast<const uint4*>(matrix.data + i * matrix.rowBytes + j * sizeof(T));
  }
  __device__ Pack<T> compute(const Nothing&, const Row& row, std::size_t, std::size_t) const {
    return Pack<T>::of(row);
  }
  __device__ void store(std::size_t j, double sum) const { set(result, 0, j, sum); }
};

}  // namespace

void sumColumns(const MatrixView& matrix, const VectorView& result, Context& context) {
  if (!refusesColumnPass({&matrix})) {
    return dispatchType(matrix.type, [&]<class T>(T) {
      launchColumnPass<T>(matrix.rows, matrix.columns, true, SumBody<T>{matrix, result}, context);
    });
  }
  if (matrix.matrices == 1 && sumPixels(matrix, result, false, context)) return;
  forEachColumnSum(
      context, extentOf(matrix),
      [matrix] __device__(std::size_t k, std::size_t i, std::size_t j) -> double2 {
        return {at(matrix, k, i, j), 0};
      },
      [result] __device__(std::size_t k, std::size_t j, double2 sum) { set(result, k, j, sum.x); });
}

}  // namespace metalloid::cuda
