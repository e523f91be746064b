// The losses, value and gradient in one pass over memory: a read of predictions, labels and weights, and a write of the
// gradient.

#include "operations/cnn_loss.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "backends/loss_reduction.hpp"
#include "math/loss.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_loss.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/image_runs-inl.hpp"
#include "backends/cpu/softmax_row-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using backends::LossSum;
using operations::ImageView;
namespace formulas = math::HWY_NAMESPACE;

/// What a formula sees of the predictions: for most losses the number itself.
class Predictions {
 public:
  explicit Predictions(const float* y) : y_(y) {}
  HWY_INLINE FloatVector forValue(std::size_t j, std::size_t n) const { return loadSome(y_ + j, n); }
  HWY_INLINE FloatVector forDerivative(std::size_t j, std::size_t n) const { return loadSome(y_ + j, n); }

 private:
  const float* y_;
};

/// Of a pixel's logits: the logarithms of the probabilities, and the probabilities.
class Logits {
 public:
  Logits(const float* y, std::size_t count, float* scratch) : y_(y), exponentials_(scratch) {
    maximum_ = rowMaximum(y, count);
    const double sum = exponentials(y, maximum_, scratch, count);
    logSum_ = static_cast<float>(std::log(sum));
    scale_ = static_cast<float>(1 / sum);
  }
  HWY_INLINE FloatVector forValue(std::size_t j, std::size_t n) const {
    const FloatTag d;
    return hn::Sub(hn::Sub(loadSome(y_ + j, n), hn::Set(d, maximum_)), hn::Set(d, logSum_));
  }
  HWY_INLINE FloatVector forDerivative(std::size_t j, std::size_t n) const {
    return hn::Mul(loadSome(exponentials_ + j, n), hn::Set(FloatTag(), scale_));
  }

 private:
  const float* y_;
  const float* exponentials_;
  float maximum_, logSum_, scale_;
};

template <CNNLossType kType>
HWY_INLINE auto predictionsOf(const float* y, [[maybe_unused]] std::size_t count, [[maybe_unused]] float* scratch) {
  if constexpr (kType == CNNLossType::softMaxCrossEntropy) {
    return Logits(y, count, scratch);
  } else {
    return Predictions(y);
  }
}

double nonZeros(const float* weights, std::size_t count) {
  std::size_t found = 0;
  for (std::size_t j = 0; j < count; ++j) found += weights[j] != 0 ? 1 : 0;
  return static_cast<double>(found);
}

float firstElement(const ImageView& view, std::size_t image) {
  float value = 0;
  toFloats(view.image(image), view.type, 1, &value);
  return value;
}

math::Loss lossOf(const operations::LossSettings& settings) {
  return math::makeLoss(settings.type, settings.labelSmoothing, settings.numberOfClasses, settings.epsilon,
                        settings.delta);
}

/// One run of a loss: where it reads and what it writes. Null for what is not given or not wanted.
struct LossRun {
  const float* y;
  const float* labels;
  const float* weights;
  float* gradient;
  float* losses;
  std::size_t length;
  float* scratch;
};

/// Adds up the losses, without the scalar weight, and writes what is wanted.
template <CNNLossType kType>
double runElements(const math::Loss& loss, float weight, const LossRun& run, bool wantsSum) {
  const FloatTag d;
  const MathOps ops;
  const auto predictions = predictionsOf<kType>(run.y, run.length, run.scratch);
  RowSum sum;
  forEachVector(run.length, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto t = formulas::lossLabel<kType>(ops, loss, loadSome(run.labels + j, n));
    const auto w = run.weights ? loadSome(run.weights + j, n) : hn::Set(d, 1.0F);
    if (run.losses || wantsSum) {
      const auto plain = formulas::lossValue<kType>(ops, loss, predictions.forValue(j, n), t);
      const auto value = kType == CNNLossType::cosineDistance ? plain : hn::Mul(w, plain);
      sum.add(value, n);
      if (run.losses) storeSome(hn::Mul(hn::Set(d, weight), value), run.losses + j, n);
    }
    if (run.gradient) {
      const auto derivative = formulas::lossDerivative<kType>(ops, loss, predictions.forDerivative(j, n), t);
      storeSome(hn::Mul(hn::Mul(hn::Set(d, weight), w), derivative), run.gradient + j, n);
    }
  });
  return sum.total();
}

/// One run of its gradient.
struct GradientRun {
  const float* incoming;
  const float* y;
  const float* labels;
  const float* weights;
  float* result;
  std::size_t length;
  float* scratch;
};

/// result = factor * incoming * weights * derivative
template <CNNLossType kType>
void runGradientElements(const math::Loss& loss, float factor, bool forLabels, const GradientRun& run) {
  const FloatTag d;
  const MathOps ops;
  const auto predictions = predictionsOf<kType>(run.y, run.length, run.scratch);
  forEachVector(run.length, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto t = formulas::lossLabel<kType>(ops, loss, loadSome(run.labels + j, n));
    auto scale = hn::Set(d, factor);
    if (run.incoming) scale = hn::Mul(loadSome(run.incoming + j, n), scale);
    if (run.weights) scale = hn::Mul(scale, loadSome(run.weights + j, n));
    const auto derivative = forLabels ? formulas::lossLabelDerivative<kType>(ops, loss, predictions.forValue(j, n), t)
                                      : formulas::lossDerivative<kType>(ops, loss, predictions.forDerivative(j, n), t);
    storeSome(hn::Mul(scale, derivative), run.result + j, n);
  });
}

/// The sums of every image from those of its runs, in order.
std::vector<LossSum> summedUp(const ImageRuns& runs, const LossSum* ofRuns, std::size_t images) {
  std::vector<LossSum> sums(images);
  for (std::size_t i = 0; i < images * runs.perImage(); ++i) {
    sums[i / runs.perImage()].loss += ofRuns[i].loss;
    sums[i / runs.perImage()].nonZeroWeights += ofRuns[i].nonZeroWeights;
  }
  return sums;
}

void runLoss(const operations::CNNLoss& operation, Context& context) {
  const auto& settings = operation.settings;
  const auto &source = operation.source, &labels = operation.labels, &weights = operation.weights;
  const bool isSoftMax = settings.type == CNNLossType::softMaxCrossEntropy;
  const bool isReduced = settings.reduction != CNNReductionType::none;
  const bool wantsSum = operation.loss && isReduced;
  const ImageView losses = isReduced ? ImageView{} : operation.loss;
  const ImageRuns runs(source, {&labels, &weights, &operation.gradient, &losses}, isSoftMax);
  auto* const ofRuns = context.scratch.take<LossSum>(runs.count());
  const math::Loss loss = lossOf(settings);
  const bool countsWeights = backends::countsWeights(settings, weights);
  math::dispatch(settings.type, [&](auto type) {
    forEachRun(runs, 6 * runs.longest(), context, [&](const ImageRuns::Run& run, float* space) {
      float* const exponentialsOfRun = space;
      space += runs.longest();
      const RunBuffer forSource(source, runs.longest(), space), forLabels(labels, runs.longest(), space),
          forWeights(weights, runs.longest(), space), forGradient(operation.gradient, runs.longest(), space),
          forLosses(losses, runs.longest(), space);
      const float* const w = forWeights.read(run.of(weights), run.length);
      std::byte *const gradientAt = run.of(operation.gradient), *const lossAt = run.of(losses);
      LossSum& sum = ofRuns[run.index];
      sum.loss = runElements<type.value>(loss, settings.weight,
                                         {.y = forSource.read(run.of(source), run.length),
                                          .labels = forLabels.read(run.of(labels), run.length),
                                          .weights = w,
                                          .gradient = forGradient.place(gradientAt),
                                          .losses = forLosses.place(lossAt),
                                          .length = run.length,
                                          .scratch = exponentialsOfRun},
                                         wantsSum);
      sum.nonZeroWeights = countsWeights ? nonZeros(w, run.length) : static_cast<double>(run.length);
      forGradient.finish(gradientAt, run.length);
      forLosses.finish(lossAt, run.length);
    });
  });
  if (!wantsSum) return;
  const auto values = backends::reducedLosses(settings, source, summedUp(runs, ofRuns, source.images));
  for (std::size_t n = 0; n < values.size(); ++n) {
    const auto value = static_cast<float>(values[n]);
    fromFloats(&value, 1, operation.loss.type, operation.loss.image(n));
  }
}

/// What multiplies the gradients of each image: the scalar weight, over the reduction's divisor where that is asked
/// for.
std::vector<float> factorsOf(const operations::NNLossGradient& operation, const ImageRuns& runs, Context& context) {
  const auto& settings = operation.settings;
  if (!operation.isDivided) return std::vector<float>(operation.source.images, settings.weight);
  auto* const ofRuns = context.scratch.take<LossSum>(runs.count());
  const bool countsWeights = backends::countsWeights(settings, operation.weights);
  forEachRun(runs, runs.longest(), context, [&](const ImageRuns::Run& run, float* space) {
    ofRuns[run.index] = {.loss = 0, .nonZeroWeights = static_cast<double>(run.length)};
    if (!countsWeights) return;
    const RunBuffer buffer(operation.weights, runs.longest(), space);
    ofRuns[run.index].nonZeroWeights = nonZeros(buffer.read(run.of(operation.weights), run.length), run.length);
  });
  std::vector<float> factors;
  for (const double divisor :
       backends::lossDivisors(settings, operation.source, summedUp(runs, ofRuns, operation.source.images)))
    factors.push_back(divisor == 0 ? 0 : static_cast<float>(static_cast<double>(settings.weight) / divisor));
  return factors;
}

void runLossGradient(const operations::NNLossGradient& operation, Context& context) {
  const auto& settings = operation.settings;
  const auto &source = operation.source, &labels = operation.labels, &weights = operation.weights;
  const bool isOneForAll = operation.gradient.pixels() * operation.gradient.channels == 1;
  const ImageView incoming = isOneForAll ? ImageView{} : operation.gradient;
  const ImageRuns runs(source, {&labels, &weights, &incoming, &operation.result},
                       settings.type == CNNLossType::softMaxCrossEntropy);
  const math::Loss loss = lossOf(settings);
  const std::vector<float> factors = factorsOf(operation, runs, context);
  math::dispatch(settings.type, [&](auto type) {
    forEachRun(runs, 6 * runs.longest(), context, [&](const ImageRuns::Run& run, float* space) {
      float* const exponentialsOfRun = space;
      space += runs.longest();
      const RunBuffer forSource(source, runs.longest(), space), forLabels(labels, runs.longest(), space),
          forWeights(weights, runs.longest(), space), forIncoming(incoming, runs.longest(), space),
          forResult(operation.result, runs.longest(), space);
      const float one = isOneForAll ? firstElement(operation.gradient, run.image) : 1;
      runGradientElements<type.value>(loss, factors[run.image] * one, operation.forLabels,
                                      {.incoming = forIncoming.read(run.of(incoming), run.length),
                                       .y = forSource.read(run.of(source), run.length),
                                       .labels = forLabels.read(run.of(labels), run.length),
                                       .weights = forWeights.read(run.of(weights), run.length),
                                       .result = forResult.place(run.of(operation.result)),
                                       .length = run.length,
                                       .scratch = exponentialsOfRun});
      forResult.finish(run.of(operation.result), run.length);
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runLoss);
HWY_EXPORT(runLossGradient);

void runSimd(const operations::CNNLoss& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runLoss)(operation, context);
}

void runSimd(const operations::NNLossGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runLossGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
