#include "operations/optimizer.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/groups.hpp"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::GradientPreprocessing;
using operations::OptimizerAdam;
using operations::OptimizerOperands;
using operations::OptimizerRMSProp;
using operations::OptimizerStochasticGradientDescent;

// Memory is the limit of every update, so that double precision costs nothing on GPUs that have it at half rate; a
// state is kept in the type it is stored in.

__device__ double preprocessed(const GradientPreprocessing& p, double gradient, double w) {
  if (p.clip) {
    // A NaN gradient stays NaN.
    if (gradient < double{p.clipMinimum}) gradient = double{p.clipMinimum};
    if (gradient > double{p.clipMaximum}) gradient = double{p.clipMaximum};
  }
  const double g = double{p.rescale} * gradient, scale = double{p.regularizationScale};
  switch (p.regularization) {
    case GradientPreprocessing::Regularization::l1:
      return g + scale * ((w > 0 ? 1 : 0) - (w < 0 ? 1 : 0));
    case GradientPreprocessing::Regularization::l2:
      return g + scale * w;
    default:
      return g;
  }
}

// Each step is made of the settings of an update. It gets the gradient and the states of an element, updates the
// states, and gives what is subtracted.

struct StochasticGradientDescentStep {
  static constexpr int kStates = 1;
  GradientPreprocessing preprocessing;
  float momentumScale;
  bool hasMomentum, useNesterovMomentum;

  static StochasticGradientDescentStep of(const OptimizerStochasticGradientDescent& o) {
    return {o.preprocessing, o.momentumScale, static_cast<bool>(o.momentum), o.useNesterovMomentum};
  }
  static const MatrixView* state(const OptimizerStochasticGradientDescent& o, int) { return &o.momentum; }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    const double rate = double{preprocessing.learningRate}, mu = double{momentumScale};
    if (!hasMomentum) return rate * g;
    state[0] = mu * state[0] + (useNesterovMomentum ? g : rate * g);
    return useNesterovMomentum ? rate * (g + mu * state[0]) : state[0];
  }
};

struct RMSPropStep {
  static constexpr int kStates = 1;
  GradientPreprocessing preprocessing;
  float epsilon;
  double decay;

  static RMSPropStep of(const OptimizerRMSProp& o) { return {o.preprocessing, o.epsilon, o.decay}; }
  static const MatrixView* state(const OptimizerRMSProp& o, int) { return &o.sumOfSquares; }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    state[0] = decay * state[0] + (1 - decay) * g * g;
    return double{preprocessing.learningRate} * g / (sqrt(state[0]) + double{epsilon});
  }
};

struct AdamStep {
  static constexpr int kStates = 3;
  GradientPreprocessing preprocessing;
  float epsilon, correctedLearningRate;
  bool hasMaximum;
  double beta1, beta2;

  static AdamStep of(const OptimizerAdam& o) {
    return {o.preprocessing, o.epsilon, o.correctedLearningRate, static_cast<bool>(o.maximumVelocity),
            o.beta1,         o.beta2};
  }
  static const MatrixView* state(const OptimizerAdam& o, int i) {
    return i == 0 ? &o.momentum : i == 1 ? &o.velocity : &o.maximumVelocity;
  }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    state[0] = beta1 * state[0] + (1 - beta1) * g;
    state[1] = beta2 * state[1] + (1 - beta2) * g * g;
    double largest = state[1];
    if (hasMaximum) largest = state[2] = state[2] < state[1] ? state[1] : state[2];
    return double{correctedLearningRate} * state[0] / (sqrt(largest) + double{epsilon});
  }
};

// Unless a check of this command buffer has failed: parameters never take a step on gradients that are none.

/// result = w - step for every element.
template <class Step>
struct Update {
  OptimizerOperands operands;
  MatrixView states[Step::kStates];  // nil: not given
  const std::uint32_t* violation;
  Step step;

  __device__ void operator()(std::size_t k, std::size_t i, std::size_t j) const {
    if (hasViolation(violation)) return;
    double state[Step::kStates] = {};
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states[s].data) state[s] = at(states[s], k, i, j);
    }
    const double w = at(operands.values, k, i, j);
    const double g = preprocessed(step.preprocessing, at(operands.gradient, k, i, j), w);
    const double change = step(g, state);
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states[s].data) set(states[s], k, i, j, state[s]);
    }
    set(operands.result, k, i, j, w - change);
  }
};

/// A block of float32 and what its update takes.
template <class Step>
struct Tensor {
  const float* gradient;
  const float* values;
  float* result;
  float* states[Step::kStates];  // nil: not given
  std::size_t elements;
  unsigned firstBlock;  // of the launch
  Step step;

  __device__ void element(std::size_t i) const {
    double state[Step::kStates];
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) state[s] = states[s] ? double{states[s][i]} : 0;
    result[i] = updated(values[i], gradient[i], state);
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states[s]) states[s][i] = static_cast<float>(state[s]);
    }
  }

  /// Four elements at once.
  __device__ void pack(std::size_t i) const {
    float4 state[Step::kStates];
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      state[s] = states[s] ? reinterpret_cast<const float4*>(states[s])[i] : float4{};
    }
    float4 w = reinterpret_cast<const float4*>(values)[i];
    const float4 g = reinterpret_cast<const float4*>(gradient)[i];
    w.x = updated(w.x, g.x, state, [](float4& p) -> float& { return p.x; });
    w.y = updated(w.y, g.y, state, [](float4& p) -> float& { return p.y; });
    w.z = updated(w.z, g.z, state, [](float4& p) -> float& { return p.z; });
    w.w = updated(w.w, g.w, state, [](float4& p) -> float& { return p.w; });
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states[s]) reinterpret_cast<float4*>(states[s])[i] = state[s];
    }
    reinterpret_cast<float4*>(result)[i] = w;
  }

 private:
  __device__ float updated(float w, float g, double (&state)[Step::kStates]) const {
    return static_cast<float>(double{w} - step(preprocessed(step.preprocessing, double{g}, double{w}), state));
  }

  template <class Part>
  __device__ float updated(float w, float g, float4 (&packs)[Step::kStates], const Part& part) const {
    double state[Step::kStates];
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) state[s] = double{part(packs[s])};
    const float result = updated(w, g, state);
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) part(packs[s]) = static_cast<float>(state[s]);
    return result;
  }
};

/// The tensors of a launch, as a kernel's argument: in a captured graph they can be patched.
template <class Step>
struct Table {
  const std::uint32_t* violation = nullptr;
  unsigned count = 0;
  Tensor<Step> tensors[kMostInGroup];
};
static_assert(sizeof(Table<AdamStep>) <= 4096, "the arguments of a kernel are 4 KiB");

constexpr unsigned kThreads = 256;

template <class Step>
__global__ void updateKernel(const __grid_constant__ Table<Step> table) {
  waitForFormer();
  if (hasViolation(table.violation)) return;
  unsigned t = 0;
  while (t + 1 < table.count && table.tensors[t + 1].firstBlock <= blockIdx.x) ++t;
  const Tensor<Step>& tensor = table.tensors[t];
  const std::size_t packs = tensor.elements / 4;
  const std::size_t i = std::size_t{blockIdx.x - tensor.firstBlock} * kThreads + threadIdx.x;
  if (i < packs) {
    tensor.pack(i);
  } else if (i == packs) {
    for (std::size_t e = packs * 4; e < tensor.elements; ++e) tensor.element(e);  // an incomplete pack
  }
}

/// All of them are flat, and a table holds them.
template <class Step, class Operation>
void launchTable(std::span<const Operation* const> updates, Context& context) {
  Table<Step> table;
  table.violation = context.violation;
  unsigned blocks = 0;
  for (const Operation* const o : updates) {
    Tensor<Step>& tensor = table.tensors[table.count++];
    const MatrixView& values = o->operands.values;
    tensor.gradient = reinterpret_cast<const float*>(o->operands.gradient.data);
    tensor.values = reinterpret_cast<const float*>(values.data);
    tensor.result = reinterpret_cast<float*>(o->operands.result.data);
    for (int s = 0; s < Step::kStates; ++s) tensor.states[s] = reinterpret_cast<float*>(Step::state(*o, s)->data);
    tensor.elements = values.matrices * values.rows * values.columns;
    tensor.firstBlock = blocks;
    tensor.step = Step::of(*o);
    blocks += blocksFor((tensor.elements + 3) / 4, kThreads);
  }
  context.launchEarly(updateKernel<Step>, blocks, kThreads, table);
}

template <class Operation, class Step>
const char* refusesTable(const Operation& o, const Context&) {
  return operandsOf(o).areFlat()
             ? nullptr
             : "an operand is no block of float32 without gaps that begins at a multiple of 16 bytes";
}

template <class Operation, class Step>
void runTable(const Operation& o, Context& context) {
  const Operation* const one = &o;
  launchTable<Step, Operation>({&one, 1}, context);
}

template <class Operation, class Step>
void runPlain(const Operation& o, Context& context) {
  Update<Step> update{.operands = o.operands, .states = {}, .violation = context.violation, .step = Step::of(o)};
  for (int s = 0; s < Step::kStates; ++s) update.states[s] = *Step::state(o, s);
  forEachElement(context, extentOf(o.operands.values), update);
}

template <class Operation, class Step>
constexpr std::array<Candidate<Operation>, 2> kCandidates = {
    {{"multi-tensor", refusesTable<Operation, Step>, runTable<Operation, Step>},
     {"plain", acceptsAll, runPlain<Operation, Step>}}};

template <class Step, class Operation>
void launchGroup(Operations updates, Context& context) {
  const Operation* group[kMostInGroup];
  for (std::size_t i = 0; i < updates.size(); ++i) group[i] = std::get_if<Operation>(updates[i]);
  launchTable<Step, Operation>({group, updates.size()}, context);
}

}  // namespace

void run(const OptimizerStochasticGradientDescent& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<OptimizerStochasticGradientDescent, StochasticGradientDescentStep>, operation, context,
               explainer);
}

void run(const OptimizerRMSProp& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<OptimizerRMSProp, RMSPropStep>, operation, context, explainer);
}

void run(const OptimizerAdam& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<OptimizerAdam, AdamStep>, operation, context, explainer);
}

void runTogether(Operations updates, Context& context) {
  if (std::holds_alternative<OptimizerAdam>(*updates.front()))
    return launchGroup<AdamStep, OptimizerAdam>(updates, context);
  if (std::holds_alternative<OptimizerRMSProp>(*updates.front()))
    return launchGroup<RMSPropStep, OptimizerRMSProp>(updates, context);
  launchGroup<StochasticGradientDescentStep, OptimizerStochasticGradientDescent>(updates, context);
}

}  // namespace metalloid::cuda
