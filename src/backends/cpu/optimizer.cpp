// The optimizers: one pass over memory that reads gradient, values and state, and writes values and state.

#include "operations/optimizer.hpp"

#include <array>
#include <cstddef>

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::GradientPreprocessing;
using operations::MatrixView;

HWY_INLINE FloatVector constant(double value) { return hn::Set(FloatTag(), static_cast<float>(value)); }

/// g = rescale * clip(gradient) + regularization of w. A NaN gradient stays NaN: both comparisons are false for it.
HWY_INLINE FloatVector preprocessed(const GradientPreprocessing& p, FloatVector g, FloatVector w) {
  const FloatTag d;
  if (p.clip) {
    const auto low = hn::Set(d, p.clipMinimum), high = hn::Set(d, p.clipMaximum);
    g = hn::IfThenElse(hn::Lt(g, low), low, g);
    g = hn::IfThenElse(hn::Gt(g, high), high, g);
  }
  g = hn::Mul(g, hn::Set(d, p.rescale));
  const auto scale = hn::Set(d, p.regularizationScale);
  if (p.regularization == GradientPreprocessing::Regularization::l2) {
    g = hn::MulAdd(scale, w, g);
  } else if (p.regularization == GradientPreprocessing::Regularization::l1) {
    // scale * sign(w), with sign(0) = 0
    g = hn::Add(g, hn::IfThenElseZero(hn::Gt(w, hn::Zero(d)), scale));
    g = hn::Sub(g, hn::IfThenElseZero(hn::Lt(w, hn::Zero(d)), scale));
  }
  return g;
}

constexpr std::size_t kMostStates = 3;

/// Gradient, values, result, and the states; those that an optimizer does not have are empty.
using Views = std::array<MatrixView, 3 + kMostStates>;

/// A segment of a row of each.
struct Segment {
  const float* gradient;
  const float* values;
  float* result;
  std::array<float*, kMostStates> states;
  std::size_t count;
};

/// Matrices without padding as one long row, so that narrow ones fill whole vectors and tasks are of one size.
Views flattened(const Views& views) {
  const auto isPacked = [](const MatrixView& view) {
    return !view || view.rowBytes == view.columns * sizeOfDataType(view.type) || view.rows == 1;
  };
  if (!std::ranges::all_of(views, isPacked)) return views;
  Views flat = views;
  for (auto& view : flat) {
    view.columns *= view.rows;
    view.rows = 1;
  }
  return flat;
}

/// Calls update(Segment) for every row segment of every matrix, in parallel.
template <class F>
void forEachSegment(const operations::OptimizerOperands& operands, const std::array<MatrixView, kMostStates>& states,
                    Context& context, const F& update) {
  for (std::size_t k = 0; k < operands.values.matrices; ++k) {
    Views views{operands.gradient.matrix(k), operands.values.matrix(k), operands.result.matrix(k)};
    for (std::size_t s = 0; s < kMostStates; ++s) views[3 + s] = states[s].matrix(k);
    views = flattened(views);

    const Tiles tiles(views[1].rows, views[1].columns, kSegment);
    constexpr std::size_t kTilesPerTask = 8;  // a few microseconds
    context.pool.parallelForBlocks(BlockSplit(tiles.count(), kTilesPerTask), [&](BlockRange task) {
      RowReader gradient(views[0]), values(views[1]);
      RowWriter result(views[2]);
      std::array<RowWriter, kMostStates> state{RowWriter(views[3]), RowWriter(views[4]), RowWriter(views[5])};
      for (std::size_t index = task.begin; index < task.end; ++index) {
        const auto tile = tiles[index];
        for (std::size_t i = tile.rows.begin; i < tile.rows.end; ++i) {
          Segment segment{gradient.row(i, tile.columns),
                          values.row(i, tile.columns),
                          result.row(i, tile.columns),
                          {},
                          tile.columns.size()};
          for (std::size_t s = 0; s < kMostStates; ++s) {
            segment.states[s] = views[3 + s] ? state[s].update(i, tile.columns) : nullptr;
          }
          update(segment);
          result.finish(i, tile.columns);
          for (std::size_t s = 0; s < kMostStates; ++s) {
            if (views[3 + s]) state[s].finish(i, tile.columns);
          }
        }
      }
    });
  }
}

void runGradientDescent(const operations::OptimizerStochasticGradientDescent& operation, Context& context) {
  const GradientPreprocessing& p = operation.preprocessing;
  forEachSegment(operation.operands, {operation.momentum}, context, [&](const Segment& segment) {
    const auto rate = constant(static_cast<double>(p.learningRate)),
               mu = constant(static_cast<double>(operation.momentumScale));
    forEachVector(segment.count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      const auto w = loadSome(segment.values + j, n);
      const auto g = preprocessed(p, loadSome(segment.gradient + j, n), w);
      float* const momentum = segment.states[0];
      if (!momentum) {
        storeSome(hn::NegMulAdd(rate, g, w), segment.result + j, n);
      } else if (operation.useNesterovMomentum) {
        const auto m = hn::MulAdd(mu, loadSome(momentum + j, n), g);
        storeSome(m, momentum + j, n);
        storeSome(hn::NegMulAdd(rate, hn::MulAdd(mu, m, g), w), segment.result + j, n);
      } else {
        const auto m = hn::MulAdd(mu, loadSome(momentum + j, n), hn::Mul(rate, g));
        storeSome(m, momentum + j, n);
        storeSome(hn::Sub(w, m), segment.result + j, n);
      }
    });
  });
}

void runRMSProp(const operations::OptimizerRMSProp& operation, Context& context) {
  const GradientPreprocessing& p = operation.preprocessing;
  forEachSegment(operation.operands, {operation.sumOfSquares}, context, [&](const Segment& segment) {
    const auto rate = constant(static_cast<double>(p.learningRate)),
               epsilon = constant(static_cast<double>(operation.epsilon));
    const auto decay = constant(operation.decay), rest = constant(1 - operation.decay);
    forEachVector(segment.count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      const auto w = loadSome(segment.values + j, n);
      const auto g = preprocessed(p, loadSome(segment.gradient + j, n), w);
      float* const squares = segment.states[0];
      const auto s = hn::MulAdd(decay, loadSome(squares + j, n), hn::Mul(rest, hn::Mul(g, g)));
      storeSome(s, squares + j, n);
      storeSome(hn::Sub(w, hn::Div(hn::Mul(rate, g), hn::Add(hn::Sqrt(s), epsilon))), segment.result + j, n);
    });
  });
}

void runAdam(const operations::OptimizerAdam& operation, Context& context) {
  const GradientPreprocessing& p = operation.preprocessing;
  forEachSegment(operation.operands, {operation.momentum, operation.velocity, operation.maximumVelocity}, context,
                 [&](const Segment& segment) {
                   const auto rate = constant(static_cast<double>(operation.correctedLearningRate));
                   const auto epsilon = constant(static_cast<double>(operation.epsilon));
                   const auto beta1 = constant(operation.beta1), rest1 = constant(1 - operation.beta1);
                   const auto beta2 = constant(operation.beta2), rest2 = constant(1 - operation.beta2);
                   forEachVector(segment.count, [&](std::size_t j, std::size_t n) HWY_ATTR {
                     const auto w = loadSome(segment.values + j, n);
                     const auto g = preprocessed(p, loadSome(segment.gradient + j, n), w);
                     const auto [momentum, velocity, maximum] = segment.states;
                     const auto m = hn::MulAdd(beta1, loadSome(momentum + j, n), hn::Mul(rest1, g));
                     const auto v = hn::MulAdd(beta2, loadSome(velocity + j, n), hn::Mul(rest2, hn::Mul(g, g)));
                     storeSome(m, momentum + j, n);
                     storeSome(v, velocity + j, n);
                     auto divisor = v;
                     if (maximum) {
                       // Written so that a NaN in v stays.
                       const auto old = loadSome(maximum + j, n);
                       divisor = hn::IfThenElse(hn::Ge(old, v), old, v);
                       storeSome(divisor, maximum + j, n);
                     }
                     storeSome(hn::Sub(w, hn::Div(hn::Mul(rate, m), hn::Add(hn::Sqrt(divisor), epsilon))),
                               segment.result + j, n);
                   });
                 });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runGradientDescent);
HWY_EXPORT(runRMSProp);
HWY_EXPORT(runAdam);

void runSimd(const operations::OptimizerStochasticGradientDescent& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradientDescent)(operation, context);
}

void runSimd(const operations::OptimizerRMSProp& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runRMSProp)(operation, context);
}

void runSimd(const operations::OptimizerAdam& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runAdam)(operation, context);
}

}  // namespace metalloid::cpu
#endif
