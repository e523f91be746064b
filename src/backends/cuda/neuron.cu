#include "operations/neuron.hpp"

#include "backends/cuda/column_pass.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixNeuron;
using operations::MatrixNeuronGradient;

constexpr double kNoBias = -0.0;  // what leaves every number as it is: -0 + 0 would be 0

void runPlain(const MatrixNeuron& o, Context& context) {
  forEachElement(context, extentOf(o.input), [o] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const double z = o.alpha * at(o.input, k, i, j) + atOr(o.bias, k, j, kNoBias);
    const auto slope = static_cast<float>(atOr(o.slopes, k, j, 0));
    set(o.result, k, i, j, static_cast<double>(neuronValue(o.neuron, static_cast<float>(z), slope)));
  });
}

/// dL/dz of one element.
__device__ double gradientAt(const MatrixNeuronGradient& o, std::size_t k, std::size_t i, std::size_t j) {
  const double z = o.alpha * at(o.input, k, i, j) + atOr(o.bias, k, j, kNoBias);
  const auto slope = static_cast<float>(atOr(o.slopes, k, j, 0));
  return at(o.gradient, k, i, j) * static_cast<double>(neuronDerivative(o.neuron, static_cast<float>(z), slope));
}

/// Five passes: the sums first, because the result may overwrite what they are made of.
void runGradientPlain(const MatrixNeuronGradient& o, Context& context) {
  if (o.resultForBias) {
    forEachColumnSum(
        context, extentOf(o.gradient),
        [o] __device__(std::size_t k, std::size_t i, std::size_t j) -> double2 {
          return {gradientAt(o, k, i, j), 0};
        },
        [o] __device__(std::size_t k, std::size_t j, double2 sum) { set(o.resultForBias, k, j, sum.x); });
  }
  forEachElement(context, extentOf(o.gradient), [o] __device__(std::size_t k, std::size_t i, std::size_t j) {
    set(o.resultForData, k, i, j, o.alpha * gradientAt(o, k, i, j));
  });
}

/// The formulas' operations for elements of float16, which keep 11 bits: with the exponential and the reciprocal of the
/// hardware, right to 20 bits where the result is not tiny. The exact ones would take longer than the memory.
struct Float16Primitives : math::scalar::FloatPrimitives {
  __device__ float divide(float x, float y) const {
    asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(y));
    return x * y;
  }
};
struct Float16Ops : math::scalar::FloatMath<Float16Primitives> {
  __device__ float exp(float x) const {
    x *= 0x1.715476p+0f;  // log2(e)
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
  }
  __device__ Normal normal(float x) const { return FloatMath::normal(x, exp(-0.5f * x * x)); }
};

template <class T>
using OpsFor = std::conditional_t<std::is_same_v<T, __half>, Float16Ops, math::scalar::FloatOps>;

/// Three passes: gradient and input are read once, the result is written once, and the sums come along. Each type of
/// element has a kernel for each type of neuron: choosing it at run time takes longer than the memory.
template <class T, CNNNeuronType kType>
struct GradientBody {
  static constexpr int kSize = Pack<T>::kSize;

  struct Columns {
    float bias[kSize];
    float slope[kSize];
  };
  struct Row {
    uint4 gradient;
    uint4 input;
  };

  MatrixNeuronGradient o;

  __device__ Columns columns(std::size_t j) const {
    Columns columns{};
    loadColumns(columns.bias, o.bias, j, static_cast<float>(kNoBias));
    if constexpr (kType == CNNNeuronType::pReLU) loadColumns(columns.slope, o.slopes, j, 0);
    return columns;
  }

  __device__ Row load(std::size_t i, std::size_t j) const {
    return {__ldcs(reinterpret_cast<const uint4*>(o.gradient.data + i * o.gradient.rowBytes + j * sizeof(T))),
            __ldcs(reinterpret_cast<const uint4*>(o.input.data + i * o.input.rowBytes + j * sizeof(T)))};
  }

  __device__ Pack<T> compute(const Columns& columns, const Row& row, std::size_t i, std::size_t j) const {
    const auto alpha = static_cast<float>(o.alpha);
    const Pack<T> x = Pack<T>::of(row.input);
    Pack<T> terms = Pack<T>::of(row.gradient), result;
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      const float z = fmaf(alpha, x.value[n], columns.bias[n]);
      terms.value[n] *= math::scalar::neuronDerivative<kType>(OpsFor<T>{}, o.neuron, z, columns.slope[n]);
      result.value[n] = alpha * terms.value[n];
    }
    __stcs(reinterpret_cast<uint4*>(o.resultForData.data + i * o.resultForData.rowBytes + j * sizeof(T)),
           result.bits());
    return terms;
  }

  __device__ void store(std::size_t j, double sum) const { set(o.resultForBias, 0, j, sum); }
};

const char* refusesOnePass(const MatrixNeuronGradient& o, const Context&) {
  return refusesColumnPass({&o.gradient, &o.input, &o.resultForData});
}

void runOnePass(const MatrixNeuronGradient& o, Context& context) {
  dispatchType(o.gradient.type, [&]<class T>(T) {
    math::dispatch(o.neuron.type, [&](auto tag) {
      launchColumnPass<T>(o.gradient.rows, o.gradient.columns, static_cast<bool>(o.resultForBias),
                          GradientBody<T, tag.value>{o}, context);
    });
  });
}

constexpr std::array<Candidate<MatrixNeuronGradient>, 2> kGradientCandidates = {
    {{"one pass", refusesOnePass, runOnePass}, {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const MatrixNeuron& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<MatrixNeuron, runPlain>, operation, context, explainer);
}

void run(const MatrixNeuronGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
