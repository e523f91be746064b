#include "operations/batch_normalization.hpp"

#include "backends/cuda/column_statistics.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/resident_columns.cuh"

namespace metalloid::cuda {
namespace {

using operations::MatrixBatchNormalization;
using operations::MatrixBatchNormalizationGradient;

/// Mean and variance of each column as computed, before they are rounded to the type they are kept in.
__device__ double2* statisticsOf(double2* statistics, const MatrixView& input, std::size_t k, std::size_t j) {
  return statistics + k * input.columns + j;
}

void runPlain(const MatrixBatchNormalization& o, Context& context) {
  double2* const statistics =
      o.computeStatistics ? context.scratch<double2>(o.input.matrices * o.input.columns) : nullptr;
  const double count = o.input.rows > 0 ? static_cast<double>(o.input.rows) : 1;  // statistics of no rows are 0
  if (o.computeStatistics) {
    forEachColumnSum(
        context, extentOf(o.input),
        [o] __device__(std::size_t k, std::size_t i, std::size_t j) -> double2 {
          return {at(o.input, k, i, j), 0};
        },
        [o, statistics, count] __device__(std::size_t k, std::size_t j, double2 sum) {
          const double mean = sum.x / count;
          statisticsOf(statistics, o.input, k, j)->x = mean;
          set(o.mean, k, j, mean);
        });
    forEachColumnSum(
        context, extentOf(o.input),
        [o, statistics] __device__(std::size_t k, std::size_t i, std::size_t j) -> double2 {
          const double d = at(o.input, k, i, j) - statisticsOf(statistics, o.input, k, j)->x;
          return {d * d, 0};
        },
        [o, statistics, count] __device__(std::size_t k, std::size_t j, double2 sum) {
          const double variance = sum.x / count;
          statisticsOf(statistics, o.input, k, j)->y = variance;
          set(o.variance, k, j, variance);
        });
  }
  forEachElement(context, extentOf(o.input), [o, statistics] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const double2 known =
        statistics ? *statisticsOf(statistics, o.input, k, j) : double2{at(o.mean, k, j), at(o.variance, k, j)};
    const double s = 1 / sqrt(known.y + double{o.epsilon});
    const double z = atOr(o.gamma, k, j, 1) * (at(o.input, k, i, j) - known.x) * s + atOr(o.beta, k, j, 0);
    if (o.neuron.type == CNNNeuronType::none) {
      set(o.result, k, i, j, z);
    } else {
      set(o.result, k, i, j, static_cast<double>(neuronValue(o.neuron, static_cast<float>(z), 0)));
    }
  });
}

/// g and xhat of one element.
__device__ double2 termsAt(const MatrixBatchNormalizationGradient& o, std::size_t k, std::size_t i, std::size_t j) {
  const double s = 1 / sqrt(at(o.variance, k, j) + double{o.epsilon});
  const double xhat = (at(o.input, k, i, j) - at(o.mean, k, j)) * s;
  const double g = at(o.gradient, k, i, j);
  if (o.neuron.type == CNNNeuronType::none) return {g, xhat};
  const double z = atOr(o.gamma, k, j, 1) * xhat + atOr(o.beta, k, j, 0);
  return {g * static_cast<double>(neuronDerivative(o.neuron, static_cast<float>(z), 0)), xhat};
}

void runGradientPlain(const MatrixBatchNormalizationGradient& o, Context& context) {
  double2* const sums = context.scratch<double2>(o.input.matrices * o.input.columns);
  forEachColumnSum(
      context, extentOf(o.input),
      [o] __device__(std::size_t k, std::size_t i, std::size_t j) -> double2 {
        const double2 terms = termsAt(o, k, i, j);
        return {terms.x, terms.x * terms.y};
      },
      [o, sums] __device__(std::size_t k, std::size_t j, double2 sum) {
        *statisticsOf(sums, o.input, k, j) = sum;
        if (o.resultForBeta.data) set(o.resultForBeta, k, j, sum.x);
        if (o.resultForGamma.data) set(o.resultForGamma, k, j, sum.y);
      });
  const double count = static_cast<double>(o.input.rows);
  forEachElement(context, extentOf(o.input), [o, sums, count] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const double2 sum = *statisticsOf(sums, o.input, k, j);
    const double2 terms = termsAt(o, k, i, j);
    const double s = 1 / sqrt(at(o.variance, k, j) + double{o.epsilon});
    set(o.resultForData, k, i, j, atOr(o.gamma, k, j, 1) * s * (terms.x - sum.x / count - terms.y * (sum.y / count)));
  });
}

/// The neuron as the fast kernels know it: what costs next to nothing, or any function. Each more would be compiled
/// into six kernels.
enum class NeuronKind { noneOrReLU, any };

template <NeuronKind kKind>
__device__ float valueOf(const math::Neuron& neuron, float z) {
  if constexpr (kKind == NeuronKind::any) {
    return neuronValue(neuron, z, 0);
  } else {
    if (neuron.type == CNNNeuronType::none) return z;
    return math::scalar::neuronValue<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, z);
  }
}

template <NeuronKind kKind>
__device__ float derivativeOf(const math::Neuron& neuron, float z) {
  if constexpr (kKind == NeuronKind::any) {
    return neuronDerivative(neuron, z, 0);
  } else {
    if (neuron.type == CNNNeuronType::none) return 1;
    return math::scalar::neuronDerivative<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, z);
  }
}

template <class Visitor>
void dispatchKind(CNNNeuronType type, const Visitor& visitor) {
  if (type == CNNNeuronType::none || type == CNNNeuronType::reLU) {
    return visitor(std::integral_constant<NeuronKind, NeuronKind::noneOrReLU>{});
  }
  visitor(std::integral_constant<NeuronKind, NeuronKind::any>{});
}

template <class T>
__device__ void storePack(const MatrixView& view, std::size_t i, std::size_t j, const Pack<T>& pack) {
  __stcs(reinterpret_cast<uint4*>(view.data + i * view.rowBytes + j * sizeof(T)), pack.bits());
}

/// Forward. The sums are of x - K and its square, K being the column's first element: in double precision that loses
/// nothing that float32 statistics could show, and takes one reading.
template <class T, NeuronKind kKind>
struct ForwardBody {
  static constexpr int kSize = Pack<T>::kSize, kSources = 1;
  struct Columns {
    double shift[kSize];
  };
  using Term = double;
  struct Finishing {
    float mean[kSize], meanRest[kSize], scale[kSize], beta[kSize];
  };

  MatrixBatchNormalization o;
  const T* firstRow;  // a copy where the result may have overwritten it

  __host__ __device__ const MatrixView& source(int) const { return o.input; }
  __device__ Columns columns(std::size_t j) const {
    Columns columns;
#pragma unroll
    for (int n = 0; n < kSize; ++n) columns.shift[n] = static_cast<double>(Pack<T>::toFloat(firstRow[j + n]));
    return columns;
  }
  __device__ void add(const Columns& columns, const Row<ForwardBody>& row, Sums<T, Term>& sums) const {
    const Pack<T> x = Pack<T>::of(row.pack[0]);
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      const double d = double{x.value[n]} - columns.shift[n];
      sums.x[n] += d;
      sums.y[n] = fma(d, d, sums.y[n]);
    }
  }
  __device__ float4 before(std::size_t j) const {
    return {Pack<T>::toFloat(firstRow[j]), loadColumn(o.gamma, j, 1), loadColumn(o.beta, j, 0), 0};
  }
  __device__ float4 store(std::size_t j, const float4& before, double2 sum, bool isKept) const {
    const double count = static_cast<double>(o.input.rows), shifted = sum.x / count;
    const double mean = double{before.x} + shifted;
    const double difference = sum.y / count - shifted * shifted;
    const double variance = difference < 0 ? 0 : difference;  // NaN stays NaN
    if (isKept) {
      set(o.mean, 0, j, mean);
      set(o.variance, 0, j, variance);
    }
    const double scale = double{before.y} / sqrt(variance + double{o.epsilon});
    const auto high = static_cast<float>(mean);
    return {high, static_cast<float>(mean - double{high}), static_cast<float>(scale), before.z};
  }
  __device__ Finishing finishing(const Columns&, const float4* known) const {
    Finishing f;
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      f.mean[n] = known[n].x;
      f.meanRest[n] = known[n].y;
      f.scale[n] = known[n].z;
      f.beta[n] = known[n].w;
    }
    return f;
  }
  __device__ void finish(const Finishing& f, const Row<ForwardBody>& row, std::size_t i, std::size_t j) const {
    const Pack<T> x = Pack<T>::of(row.pack[0]);
    Pack<T> result;
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      const float z = fmaf((x.value[n] - f.mean[n]) - f.meanRest[n], f.scale[n], f.beta[n]);
      result.value[n] = valueOf<kKind>(o.neuron, z);
    }
    storePack(o.result, i, j, result);
  }
};

template <class T, NeuronKind kKind>
struct GradientBody {
  static constexpr int kSize = Pack<T>::kSize, kSources = 2;
  struct Columns {
    float mean[kSize], deviation[kSize], gamma[kSize], beta[kSize];  // deviation: 1 / sqrt(variance + epsilon)
  };
  struct Finishing {
    Columns columns;
    float scale[kSize], meanG[kSize], meanGXhat[kSize];
  };
  using Term = float;

  MatrixBatchNormalizationGradient o;

  __host__ __device__ const MatrixView& source(int n) const { return n == 0 ? o.gradient : o.input; }
  __device__ float deviation(float variance) const {
    return 1 / sqrtf(static_cast<float>(double{variance} + double{o.epsilon}));
  }
  __device__ Columns columns(std::size_t j) const {
    Columns columns;
    loadColumns(columns.mean, o.mean, j, 0);
    loadColumns(columns.deviation, o.variance, j, 0);
    loadColumns(columns.gamma, o.gamma, j, 1);
    loadColumns(columns.beta, o.beta, j, 0);
#pragma unroll
    for (int n = 0; n < kSize; ++n) columns.deviation[n] = deviation(columns.deviation[n]);
    return columns;
  }
  __device__ float2 terms(const Columns& columns, const Pack<T>& gradient, const Pack<T>& x, int n) const {
    const float xhat = (x.value[n] - columns.mean[n]) * columns.deviation[n];
    const float z = fmaf(columns.gamma[n], xhat, columns.beta[n]);
    return {gradient.value[n] * derivativeOf<kKind>(o.neuron, z), xhat};
  }
  __device__ void add(const Columns& columns, const Row<GradientBody>& row, Sums<T, Term>& sums) const {
    const Pack<T> gradient = Pack<T>::of(row.pack[0]), x = Pack<T>::of(row.pack[1]);
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      const float2 t = terms(columns, gradient, x, n);
      sums.x[n] += t.x;
      sums.y[n] = fmaf(t.x, t.y, sums.y[n]);
    }
  }
  __device__ float4 before(std::size_t j) const {
    return {loadColumn(o.gamma, j, 1) * deviation(loadColumn(o.variance, j, 0)), 0, 0, 0};
  }
  __device__ float4 store(std::size_t j, const float4& before, double2 sum, bool isKept) const {
    if (isKept && o.resultForBeta.data) set(o.resultForBeta, 0, j, sum.x);
    if (isKept && o.resultForGamma.data) set(o.resultForGamma, 0, j, sum.y);
    const double count = static_cast<double>(o.input.rows);
    return {before.x, static_cast<float>(sum.x / count), static_cast<float>(sum.y / count), 0};
  }
  __device__ Finishing finishing(const Columns& columns, const float4* known) const {
    Finishing f;
    f.columns = columns;
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      f.scale[n] = known[n].x;
      f.meanG[n] = known[n].y;
      f.meanGXhat[n] = known[n].z;
    }
    return f;
  }
  __device__ void finish(const Finishing& f, const Row<GradientBody>& row, std::size_t i, std::size_t j) const {
    const Pack<T> gradient = Pack<T>::of(row.pack[0]), x = Pack<T>::of(row.pack[1]);
    Pack<T> result;
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      const float2 t = terms(f.columns, gradient, x, n);
      result.value[n] = f.scale[n] * fmaf(-t.y, f.meanGXhat[n], t.x - f.meanG[n]);
    }
    storePack(o.resultForData, i, j, result);
  }
};

const char* refusesPacks(const MatrixBatchNormalization& o, const Context&) {
  if (!o.computeStatistics) return "the statistics are given";
  if (o.result.type != o.input.type || !isPacked(o.input) || !isPacked(o.result)) {
    return "rows are no whole, aligned packs of 16 bytes, or there are several matrices";
  }
  return refusesColumnStatistics(o.input.columns);
}

const char* refusesPacks(const MatrixBatchNormalizationGradient& o, const Context&) {
  if (o.gradient.type != o.input.type || o.resultForData.type != o.input.type || !isPacked(o.input) ||
      !isPacked(o.gradient) || !isPacked(o.resultForData)) {
    return "rows are no whole, aligned packs of 16 bytes, or there are several matrices";
  }
  return refusesColumnStatistics(o.input.columns);
}

/// visitor(T{}, body) for the type of the elements.
template <class Visitor>
void dispatchBody(const MatrixBatchNormalization& o, const Visitor& visitor) {
  dispatchType(o.input.type, [&]<class T>(T element) {
    dispatchKind(o.neuron.type, [&](auto kind) {
      visitor(element, ForwardBody<T, kind.value>{o, reinterpret_cast<const T*>(o.input.data)});
    });
  });
}

template <class Visitor>
void dispatchBody(const MatrixBatchNormalizationGradient& o, const Visitor& visitor) {
  dispatchType(o.input.type, [&]<class T>(T element) {
    dispatchKind(o.neuron.type, [&](auto kind) { visitor(element, GradientBody<T, kind.value>{o}); });
  });
}

template <class Operation>
const char* refusesResident(const Operation& o, const Context& context) {
  const char* reason = refusesPacks(o, context);
  if (reason) return reason;
  dispatchBody(o, [&]<class T, class Body>(T, const Body&) {
    reason = refusesResidentColumns<T, Body>(o.input.rows, o.input.columns, context);
  });
  return reason;
}

template <class Operation>
void runResident(const Operation& o, Context& context) {
  dispatchBody(o, [&]<class T, class Body>(T, const Body& body) {
    launchResidentColumns<T>(o.input.rows, o.input.columns, body, context);
  });
}

void runPacks(const MatrixBatchNormalization& o, Context& context) {
  dispatchBody(o, [&]<class T, class Body>(T, Body body) {
    if (o.input.data == o.result.data) {
      T* const copy = context.scratch<T>(o.input.columns);
      check(cudaMemcpyAsync(copy, body.firstRow, o.input.columns * sizeof(T), cudaMemcpyDeviceToDevice, context.stream),
            "A copy did not start");
      body.firstRow = copy;
    }
    launchColumnStatistics<T>(o.input.rows, o.input.columns, body, context);
  });
}

void runPacks(const MatrixBatchNormalizationGradient& o, Context& context) {
  dispatchBody(o, [&]<class T, class Body>(T, const Body& body) {
    launchColumnStatistics<T>(o.input.rows, o.input.columns, body, context);
  });
}

constexpr std::array<Candidate<MatrixBatchNormalization>, 3> kCandidates = {
    {{"resident", refusesResident, runResident}, {"packs", refusesPacks, runPacks}, {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<MatrixBatchNormalizationGradient>, 3> kGradientCandidates = {
    {{"resident", refusesResident, runResident},
     {"packs", refusesPacks, runPacks},
     {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const MatrixBatchNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const MatrixBatchNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
