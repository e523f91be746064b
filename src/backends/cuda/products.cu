#include "backends/cuda/products.hpp"

#include "backends/cuda/elements.cuh"

#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>

namespace metalloid::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLAS recommends for Hopper

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Failure(status == CUBLAS_STATUS_ALLOC_FAILED ? Status::Code::outOfMemory : Status::Code::device, what,
                cublasLtGetStatusString(status));
}

cudaDataType_t libraryType(DataType type) {
  return type == DataType::float16 ? CUDA_R_16F : type == DataType::bFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// Everything the choice of an algorithm depends on. cuBLASLt is column-major: it computes the transposed result from
/// the right factor times the left one.
struct Shape {
  std::size_t m, n, k;  // of the column-major product: n is the number of rows of our result
  std::size_t lda, ldb, ldd, strideA, strideB, strideD, batch;
  std::uint32_t alignA, alignB, alignD;
  DataType type, resultType, biasType;
  bool transposeA, transposeB, hasBias, hasBeta, reduced;

  auto operator<=>(const Shape&) const = default;
};

std::uint32_t alignment(const MatrixView& view) {
  std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(view.data) | view.rowBytes | 256;
  if (view.matrices > 1) bits |= view.matrixBytes;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

struct Layout {
  Layout(cudaDataType_t type, std::size_t rows, std::size_t columns, std::size_t stride, std::size_t batch,
         std::size_t batchStride) {
    check(cublasLtMatrixLayoutCreate(&handle, type, rows, columns, static_cast<std::int64_t>(stride)),
          "A product was not set up");
    if (batch <= 1) return;
    const auto count = static_cast<std::int32_t>(batch);
    const auto elements = static_cast<std::int64_t>(batchStride);
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count));
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &elements, sizeof(elements));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  cublasLtMatrixLayout_t handle = nullptr;
};

/// The descriptors and the algorithm of one shape.
struct Plan {
  explicit Plan(const Shape& s)
      : a(libraryType(s.type), s.transposeA ? s.k : s.m, s.transposeA ? s.m : s.k, s.lda, s.batch, s.strideA),
        b(libraryType(s.type), s.transposeB ? s.n : s.k, s.transposeB ? s.k : s.n, s.ldb, s.batch, s.strideB),
        d(libraryType(s.resultType), s.m, s.n, s.ldd, s.batch, s.strideD) {
    const bool isReduced = s.reduced && s.type == DataType::float32;
    check(
        cublasLtMatmulDescCreate(&operation, isReduced ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "A product was not set up");
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof(value));
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, s.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, s.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (s.hasBias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, libraryType(s.biasType));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(nullptr));
    }
  }
  ~Plan() { cublasLtMatmulDescDestroy(operation); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// False when the library has no algorithm.
  bool choose(cublasLtHandle_t handle, const Shape& s) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "A product was not set up");
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    // Sums that are split go through the workspace and are added in a fixed order; "in place" would add as blocks end.
    // Products of 16-bit types that are split must not round in between.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.alignA);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.alignB);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.alignD);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.alignD);
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const auto status = cublasLtMatmulAlgoGetHeuristic(handle, operation, a.handle, b.handle, d.handle, d.handle,
                                                       preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    algorithm = result.algo;
    return status == CUBLAS_STATUS_SUCCESS && found == 1;
  }

  cublasLtMatmulDesc_t operation = nullptr;
  Layout a, b, d;
  cublasLtMatmulAlgo_t algorithm{};
};

/// What a result without its bias or neuron goes through when it cannot be rounded in between.
MatrixView floatScratch(const MatrixView& result, Context& context) {
  MatrixView view = result;
  view.type = DataType::float32;
  view.rowBytes = (result.columns * sizeof(float) + 15) / 16 * 16;
  view.matrixBytes = view.rowBytes * result.rows;
  view.data = context.scratch<std::byte>(view.matrixBytes * result.matrices);
  return view;
}

}  // namespace

class Products {
 public:
  Products() { check(cublasLtCreate(&handle_), "cuBLASLt did not start"); }
  ~Products() { cublasLtDestroy(handle_); }

  cublasLtHandle_t handle() const { return handle_; }

  std::byte* workspace() {
    if (!workspace_) workspace_ = std::make_unique<DeviceBlock>(kWorkspaceBytes);
    return workspace_->address();
  }

  /// nil when the library has no algorithm for the shape.
  Plan* plan(const Shape& shape) {
    const auto found = plans_.find(shape);
    if (found != plans_.end()) return found->second.get();
    auto plan = std::make_unique<Plan>(shape);
    if (!plan->choose(handle_, shape)) plan = nullptr;
    return plans_.emplace(shape, std::move(plan)).first->second.get();
  }

 private:
  cublasLtHandle_t handle_ = nullptr;
  std::unique_ptr<DeviceBlock> workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

std::shared_ptr<Products> makeProducts() { return std::make_shared<Products>(); }

const char* refusesLibraryProduct(const Product& p) {
  const DataType type = p.left.type;
  const bool isFloat = type == DataType::float32 || type == DataType::float16 || type == DataType::bFloat16;
  if (!isFloat || p.right.type != type) return "the factors are no floating-point numbers of one type";
  if (p.result.type != type && p.result.type != DataType::float32) return "the result has another type";
  const std::size_t interior = p.transposeLeft ? p.left.rows : p.left.columns;
  if (p.result.rows == 0 || p.result.columns == 0 || p.result.matrices == 0 || interior == 0) return "it is empty";
  constexpr std::size_t kLimit = 0x7fffffffu;
  for (const MatrixView* view : {&p.left, &p.right, &p.result}) {
    if (view->rows > kLimit || view->columns > kLimit || view->rowBytes > kLimit) return "a size is beyond 31 bits";
    const std::size_t element = sizeOfDataType(view->type);
    if (view->rowBytes % element != 0 || view->matrixBytes % element != 0) return "a stride is no whole element";
  }
  return nullptr;
}

void runLibraryProduct(const Product& p, Context& context) {
  const bool isHalf = p.result.type != DataType::float32;
  const bool hasNeuron = p.neuron.type != CNNNeuronType::none;
  // Some of the library's kernels round a 16-bit result before they add the bias, and once more after it.
  const bool isBiasFused = p.bias && !hasNeuron && !isHalf && p.bias.type == DataType::float32 && p.beta == 0 &&
                           p.result.matrices == 1 && reinterpret_cast<std::uintptr_t>(p.bias.data) % 16 == 0;
  const bool hasSecondPass = hasNeuron || (p.bias && !isBiasFused);
  // A 16-bit result is rounded once, at the end.
  const MatrixView target = hasSecondPass && isHalf ? floatScratch(p.result, context) : p.result;

  const auto stride = [](const MatrixView& view) {
    // A single row may have any stride; the library wants no less than the row.
    return std::max(view.rowBytes / sizeOfDataType(view.type), view.columns);
  };
  const auto batchStride = [](const MatrixView& view) { return view.matrixBytes / sizeOfDataType(view.type); };
  const Shape shape{.m = p.result.columns,
                    .n = p.result.rows,
                    .k = p.transposeLeft ? p.left.rows : p.left.columns,
                    .lda = stride(p.right),
                    .ldb = stride(p.left),
                    .ldd = stride(target),
                    .strideA = batchStride(p.right),
                    .strideB = batchStride(p.left),
                    .strideD = batchStride(target),
                    .batch = p.result.matrices,
                    .alignA = alignment(p.right),
                    .alignB = alignment(p.left),
                    .alignD = alignment(target),
                    .type = p.left.type,
                    .resultType = target.type,
                    .biasType = DataType::float32,
                    .transposeA = p.transposeRight,
                    .transposeB = p.transposeLeft,
                    .hasBias = isBiasFused,
                    .hasBeta = p.beta != 0,
                    .reduced = p.allowReducedPrecision};
  Plan* const plan = context.products->plan(shape);
  if (!plan) return runPlainProduct(p, context);
  if (context.mode == Context::Mode::patch) {  // the library's kernels are not ours to give other arguments
    context.isPatched = false;
    return;
  }
  if (isBiasFused) {
    const void* const bias = p.bias.data;
    cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
  }
  const auto alpha = static_cast<float>(p.alpha), beta = static_cast<float>(p.beta);
  check(cublasLtMatmul(context.products->handle(), plan->operation, &alpha, p.right.data, plan->a.handle, p.left.data,
                       plan->b.handle, &beta, target.data, plan->d.handle, target.data, plan->d.handle,
                       &plan->algorithm, context.products->workspace(), kWorkspaceBytes, context.stream),
        "A product did not start");
  if (!hasSecondPass) return;
  forEachElement(context, extentOf(p.result), [p, target] __device__(std::size_t k, std::size_t i, std::size_t j) {
    double z = at(target, k, i, j);
    if (p.bias.data) z += at(p.bias, k, j);
    if (p.neuron.type != CNNNeuronType::none) z = neuronValue(p.neuron, static_cast<float>(z), 0);
    set(p.result, k, i, j, z);
  });
}

namespace {

constexpr unsigned kTile = 16;

/// One element of the result a thread, tiles of both factors in shared memory, double precision throughout.
__global__ void productKernel(std::size_t firstMatrix, Product p) {
  __shared__ double left[kTile][kTile + 1], right[kTile][kTile + 1];
  const std::size_t k = firstMatrix + blockIdx.z;
  const std::size_t j = std::size_t{blockIdx.x} * kTile + threadIdx.x;
  const std::size_t interior = p.transposeLeft ? p.left.rows : p.left.columns;
  for (std::size_t i0 = std::size_t{blockIdx.y} * kTile; i0 < p.result.rows; i0 += std::size_t{gridDim.y} * kTile) {
    const std::size_t i = i0 + threadIdx.y;
    double sum = 0;
    for (std::size_t c0 = 0; c0 < interior; c0 += kTile) {
      const std::size_t cx = c0 + threadIdx.x, cy = c0 + threadIdx.y;
      left[threadIdx.y][threadIdx.x] =
          i < p.result.rows && cx < interior ? (p.transposeLeft ? at(p.left, k, cx, i) : at(p.left, k, i, cx)) : 0;
      right[threadIdx.y][threadIdx.x] = j < p.result.columns && cy < interior
                                            ? (p.transposeRight ? at(p.right, k, j, cy) : at(p.right, k, cy, j))
                                            : 0;
      __syncthreads();
      const auto count = static_cast<unsigned>(interior - c0 < kTile ? interior - c0 : kTile);
      for (unsigned c = 0; c < count; ++c) sum = fma(left[threadIdx.y][c], right[c][threadIdx.x], sum);
      __syncthreads();
    }
    if (i >= p.result.rows || j >= p.result.columns) continue;
    double z = p.alpha * sum;
    if (p.beta != 0) z += p.beta * at(p.result, k, i, j);
    if (p.bias.data) z += at(p.bias, k, j);
    if (p.neuron.type != CNNNeuronType::none) z = neuronValue(p.neuron, static_cast<float>(z), 0);
    set(p.result, k, i, j, z);
  }
}

}  // namespace

void runPlainProduct(const Product& p, Context& context) {
  if (p.result.rows == 0 || p.result.columns == 0) return;
  constexpr std::size_t kMost = 32768;  // of the grid's second and third dimension
  for (std::size_t k = 0; k < p.result.matrices; k += kMost) {
    context.launch(productKernel,
                   dim3(blocksFor(p.result.columns, kTile), blocksFor(p.result.rows, kTile, kMost),
                        static_cast<unsigned>(std::min(kMost, p.result.matrices - k))),
                   dim3(kTile, kTile), k, p);
  }
}

}  // namespace metalloid::cuda
