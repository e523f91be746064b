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

/// result = w - step(k, i, j, g) for every element, unless a check of this command buffer has failed: parameters never
/// take a step on gradients that are none.
template <class Step>
struct Update {
  OptimizerOperands operands;
  GradientPreprocessing preprocessing;
  const std::uint32_t* violation;
  Step step;

  __device__ void operator()(std::size_t k, std::size_t i, std::size_t j) const {
    if (hasViolation(violation)) return;
    const double w = at(operands.values, k, i, j);
    const double g = preprocessed(preprocessing, at(operands.gradient, k, i, j), w);
    set(operands.result, k, i, j, w - step(k, i, j, g));
  }
};

template <class Step>
void update(Context& context, const OptimizerOperands& operands, const GradientPreprocessing& preprocessing,
            Step step) {
  forEachElement(context, extentOf(operands.values), Update<Step>{operands, preprocessing, context.violation, step});
}

struct StochasticGradientDescentStep {
  OptimizerStochasticGradientDescent o;

  __device__ double operator()(std::size_t k, std::size_t i, std::size_t j, double g) const {
    const double rate = double{o.preprocessing.learningRate}, mu = double{o.momentumScale};
    if (!o.momentum.data) return rate * g;
    const double m = mu * at(o.momentum, k, i, j) + (o.useNesterovMomentum ? g : rate * g);
    set(o.momentum, k, i, j, m);
    return o.useNesterovMomentum ? rate * (g + mu * m) : m;
  }
};

struct RMSPropStep {
  OptimizerRMSProp o;

  __device__ double operator()(std::size_t k, std::size_t i, std::size_t j, double g) const {
    const double s = o.decay * at(o.sumOfSquares, k, i, j) + (1 - o.decay) * g * g;
    set(o.sumOfSquares, k, i, j, s);
    return double{o.preprocessing.learningRate} * g / (sqrt(s) + double{o.epsilon});
  }
};

struct AdamStep {
  OptimizerAdam o;

  __device__ double operator()(std::size_t k, std::size_t i, std::size_t j, double g) const {
    const double m = o.beta1 * at(o.momentum, k, i, j) + (1 - o.beta1) * g;
    const double v = o.beta2 * at(o.velocity, k, i, j) + (1 - o.beta2) * g * g;
    double largest = v;
    if (o.maximumVelocity.data) {
      const double before = at(o.maximumVelocity, k, i, j);
      largest = before < v ? v : before;
      set(o.maximumVelocity, k, i, j, largest);
    }
    set(o.momentum, k, i, j, m);
    set(o.velocity, k, i, j, v);
    return double{o.correctedLearningRate} * m / (sqrt(largest) + double{o.epsilon});
  }
};

template <class Operation, class Step>
void runPlain(const Operation& o, Context& context) {
  update(context, o.operands, o.preprocessing, Step{o});
}

template <class Operation, class Step>
constexpr std::array<Candidate<Operation>, 1> kCandidates = {{{"plain", acceptsAll, runPlain<Operation, Step>}}};

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
