#include "operations/optimizer.hpp"

#include "backends/cuda/elements.cuh"
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

// Each step gets the gradient and the states of an element, updates the states, and gives what is subtracted.

struct StochasticGradientDescentStep {
  static constexpr int kStates = 1;
  OptimizerStochasticGradientDescent o;

  const MatrixView* state(int) const { return &o.momentum; }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    const double rate = double{o.preprocessing.learningRate}, mu = double{o.momentumScale};
    if (!o.momentum.data) return rate * g;
    state[0] = mu * state[0] + (o.useNesterovMomentum ? g : rate * g);
    return o.useNesterovMomentum ? rate * (g + mu * state[0]) : state[0];
  }
};

struct RMSPropStep {
  static constexpr int kStates = 1;
  OptimizerRMSProp o;

  const MatrixView* state(int) const { return &o.sumOfSquares; }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    state[0] = o.decay * state[0] + (1 - o.decay) * g * g;
    return double{o.preprocessing.learningRate} * g / (sqrt(state[0]) + double{o.epsilon});
  }
};

struct AdamStep {
  static constexpr int kStates = 3;
  OptimizerAdam o;

  const MatrixView* state(int i) const { return i == 0 ? &o.momentum : i == 1 ? &o.velocity : &o.maximumVelocity; }

  __device__ double operator()(double g, double (&state)[kStates]) const {
    state[0] = o.beta1 * state[0] + (1 - o.beta1) * g;
    state[1] = o.beta2 * state[1] + (1 - o.beta2) * g * g;
    double largest = state[1];
    if (o.maximumVelocity.data) largest = state[2] = state[2] < state[1] ? state[1] : state[2];
    return double{o.correctedLearningRate} * state[0] / (sqrt(largest) + double{o.epsilon});
  }
};

template <class Step>
struct States {
  explicit States(const Step& step) {
    for (int i = 0; i < Step::kStates; ++i) view[i] = *step.state(i);
  }
  MatrixView view[Step::kStates];  // nil: not given
};

// Unless a check of this command buffer has failed: parameters never take a step on gradients that are none.

/// result = w - step for every element.
template <class Step>
struct Update {
  OptimizerOperands operands;
  States<Step> states;
  const std::uint32_t* violation;
  Step step;

  __device__ void operator()(std::size_t k, std::size_t i, std::size_t j) const {
    if (hasViolation(violation)) return;
    double state[Step::kStates] = {};
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states.view[s].data) state[s] = at(states.view[s], k, i, j);
    }
    const double w = at(operands.values, k, i, j);
    const double g = preprocessed(step.o.preprocessing, at(operands.gradient, k, i, j), w);
    const double change = step(g, state);
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states.view[s].data) set(states.view[s], k, i, j, state[s]);
    }
    set(operands.result, k, i, j, w - change);
  }
};

/// The same for four elements of float32 at once, in matrices without gaps.
template <class Step>
struct PackedUpdate {
  OptimizerOperands operands;
  States<Step> states;
  const std::uint32_t* violation;
  Step step;

  __device__ void operator()(std::size_t, std::size_t, std::size_t pack) const {
    if (hasViolation(violation)) return;
    float4 value[Step::kStates];
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      value[s] = states.view[s].data ? reinterpret_cast<const float4*>(states.view[s].data)[pack] : float4{};
    }
    float4 w = reinterpret_cast<const float4*>(operands.values.data)[pack];
    const float4 gradient = reinterpret_cast<const float4*>(operands.gradient.data)[pack];
    element(w.x, gradient.x, [&](int s) -> float& { return value[s].x; });
    element(w.y, gradient.y, [&](int s) -> float& { return value[s].y; });
    element(w.z, gradient.z, [&](int s) -> float& { return value[s].z; });
    element(w.w, gradient.w, [&](int s) -> float& { return value[s].w; });
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) {
      if (states.view[s].data) reinterpret_cast<float4*>(states.view[s].data)[pack] = value[s];
    }
    reinterpret_cast<float4*>(operands.result.data)[pack] = w;
  }

  template <class StateOf>
  __device__ void element(float& w, float gradient, const StateOf& stateOf) const {
    double state[Step::kStates];
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) state[s] = double{stateOf(s)};
    const double g = preprocessed(step.o.preprocessing, double{gradient}, double{w});
    w = static_cast<float>(double{w} - step(g, state));
#pragma unroll
    for (int s = 0; s < Step::kStates; ++s) stateOf(s) = static_cast<float>(state[s]);
  }
};

/// The elements of a matrix of float32 that follow each other, in packs of four; 0 where they do not.
std::size_t packsOf(const MatrixView& view) {
  const std::size_t elements = view.matrices * view.rows * view.columns;
  const bool hasGaps = (view.rows > 1 && view.rowBytes != view.columns * sizeof(float)) ||
                       (view.matrices > 1 && view.matrixBytes != view.rows * view.columns * sizeof(float));
  const bool isAligned = reinterpret_cast<std::uintptr_t>(view.data) % sizeof(float4) == 0 && elements % 4 == 0;
  return view.type == DataType::float32 && isAligned && !hasGaps ? elements / 4 : 0;
}

template <class Operation, class Step>
const char* refusesPacks(const Operation& o, const Context&) {
  const Step step{o};
  bool isPacked = packsOf(o.operands.values) > 0 && packsOf(o.operands.gradient) > 0 && packsOf(o.operands.result) > 0;
  for (int i = 0; i < Step::kStates; ++i) isPacked = isPacked && (!*step.state(i) || packsOf(*step.state(i)) > 0);
  return isPacked ? nullptr : "an operand is no block of float32 in whole, aligned packs of 16 bytes";
}

template <class Operation, class Step>
void runPacks(const Operation& o, Context& context) {
  const Step step{o};
  forEachElement(context, {1, 1, packsOf(o.operands.values)},
                 PackedUpdate<Step>{o.operands, States<Step>(step), context.violation, step});
}

template <class Operation, class Step>
void runPlain(const Operation& o, Context& context) {
  const Step step{o};
  forEachElement(context, extentOf(o.operands.values),
                 Update<Step>{o.operands, States<Step>(step), context.violation, step});
}

template <class Operation, class Step>
constexpr std::array<Candidate<Operation>, 2> kCandidates = {
    {{"packs", refusesPacks<Operation, Step>, runPacks<Operation, Step>},
     {"plain", acceptsAll, runPlain<Operation, Step>}}};

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

}  // namespace metalloid::cuda
