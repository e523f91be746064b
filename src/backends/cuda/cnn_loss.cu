#include "operations/cnn_loss.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/packs.cuh"
#include "backends/cuda/softmax_pixel.cuh"
#include "math/loss.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNLoss;
using operations::LossSettings;
using operations::NNLossGradient;

/// What the loss of an element takes; double precision, as memory and launches are the limit of losses.
struct Terms {
  Images source, labels, weights;
  math::Loss loss;
  const double* logSums;  // of each pixel, for soft-max cross entropy

  struct Element {
    double y, label, logSum, weight;
  };

  __device__ Element element(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    const double logSum = logSums ? logSums[(n * source.height + y) * source.width + x] : 0;
    return {at(source, n, y, x, c), at(labels, n, y, x, c), logSum, atOr(weights, n, y, x, c, 1)};
  }
};

/// What the formulas say of an element.
struct Formulas {
  math::Loss loss;
  Terms::Element element;

  template <class Tag>
  __device__ double label(Tag) const {
    return math::scalar::lossLabel<Tag::value>(math::scalar::DoubleOps{}, loss, element.label);
  }
  __device__ double value() const {
    return math::dispatch(loss.type, [this](auto tag) {
      return math::scalar::lossValue<tag.value>(math::scalar::DoubleOps{}, loss, element.y - element.logSum,
                                                label(tag));
    });
  }
  __device__ double derivative() const {
    const double y = loss.type == CNNLossType::softMaxCrossEntropy ? exp(element.y - element.logSum) : element.y;
    return math::dispatch(loss.type, [this, y](auto tag) {
      return math::scalar::lossDerivative<tag.value>(math::scalar::DoubleOps{}, loss, y, label(tag));
    });
  }
  __device__ double labelDerivative() const {
    return math::dispatch(loss.type, [this](auto tag) {
      return math::scalar::lossLabelDerivative<tag.value>(math::scalar::DoubleOps{}, loss, element.y - element.logSum,
                                                          label(tag));
    });
  }
};

template <class Operation>
Terms termsOf(const Operation& o, Context& context) {
  const LossSettings& s = o.settings;
  const Images source = imagesOf(o.source, context);
  double* logSums = nullptr;
  if (s.type == CNNLossType::softMaxCrossEntropy) {
    logSums = context.scratch<double>(source.images * source.pixels());
    forEachPixel(context, source, [=] __device__(std::size_t n, std::size_t y, std::size_t x, unsigned lane) {
      const SoftMaxPixel pixel = softMaxPixel(source, n, y, x, lane);
      if (lane == 0) logSums[(n * source.height + y) * source.width + x] = pixel.maximum + log(pixel.sum);
    });
  }
  return {source, imagesOf(o.labels, context), imagesOf(o.weights, context),
          math::makeLoss(s.type, s.labelSmoothing, s.numberOfClasses, s.epsilon, s.delta), logSums};
}

/// For each image: the sum of its losses without the scalar weight, and how many of its weights are not 0.
double2* imageSums(const Terms& terms, bool hasLosses, Context& context) {
  const std::size_t images = terms.source.images, channels = terms.source.channels, width = terms.source.width;
  auto* const parts = context.scratch<double2>(images * channels);
  auto* const sums = context.scratch<double2>(images);
  const bool isCosine = terms.loss.type == CNNLossType::cosineDistance;
  forEachChannelSum(
      context, {images, terms.source.pixels(), channels},
      [=] __device__(std::size_t n, std::size_t pixel, std::size_t c) -> double2 {
        const auto element = terms.element(n, pixel / width, pixel % width, c);
        const double value = hasLosses ? Formulas{terms.loss, element}.value() : 0;
        return {isCosine ? value : element.weight * value, element.weight != 0 ? 1.0 : 0.0};
      },
      [=] __device__(std::size_t n, std::size_t c, double2 sum) { parts[n * channels + c] = sum; });
  forEachRow(context, {1, images, 1}, [=] __device__(std::size_t, std::size_t n, unsigned lane) {
    double2 sum = {0, 0};
    for (std::size_t c = lane; c < channels; c += 32) {
      sum.x += parts[n * channels + c].x;
      sum.y += parts[n * channels + c].y;
    }
    sum = {warpSum(sum.x), warpSum(sum.y)};
    if (lane == 0) sums[n] = sum;
  });
  return sums;
}

/// How backends/loss_reduction.hpp divides the losses of images.
struct Divisors {
  CNNReductionType reduction;
  bool reducesBatch;
  double elements;  // of an image, as a mean counts them
  std::size_t images;
  const double2* sums;  // of the images, where weights are counted

  __device__ double ofImage(std::size_t n) const {
    if (reduction == CNNReductionType::mean) return elements;
    return reduction == CNNReductionType::sumByNonZeroWeights ? sums[n].y : 1;
  }

  /// For a whole warp, the same in every lane.
  __device__ double operator()(std::size_t n, unsigned lane) const {
    const bool isDivided = reduction == CNNReductionType::mean || reduction == CNNReductionType::sumByNonZeroWeights;
    if (!reducesBatch || !isDivided) return ofImage(n);
    double total = 0;
    for (std::size_t m = lane; m < images; m += 32) total += ofImage(m);
    return warpSum(total);
  }
};

Divisors divisorsOf(const LossSettings& s, const Images& source, const double2* sums) {
  const std::size_t each = s.type == CNNLossType::softMaxCrossEntropy ? 1 : source.channels;
  return {s.reduction, s.reduceAcrossBatch, static_cast<double>(source.pixels() * each), source.images, sums};
}

/// The values of the loss images: one warp for each, or one for the batch.
void writeReduced(const LossSettings& s, const Terms& terms, const Images& result, Context& context) {
  const double2* const sums = imageSums(terms, true, context);
  const Divisors divisors = divisorsOf(s, terms.source, sums);
  const bool isCosine = s.type == CNNLossType::cosineDistance, reducesBatch = s.reduceAcrossBatch;
  const auto weight = static_cast<double>(s.weight);
  const std::size_t images = terms.source.images;
  const auto reduced = [=] __device__(std::size_t n, double divisor) {
    return divisor == 0 ? 0 : weight * (isCosine ? 1 + sums[n].x : sums[n].x) / divisor;
  };
  forEachRow(context, {1, images, 1}, [=] __device__(std::size_t, std::size_t n, unsigned lane) {
    const bool holdsBatch = reducesBatch && n == 0;
    const double divisor = divisors(n, lane);  // of the batch, or one that all images share, when it is reduced
    double value = 0;
    if (holdsBatch) {
      for (std::size_t m = lane; m < images; m += 32) value += reduced(m, divisor);
      value = warpSum(value);
    } else if (!reducesBatch) {
      value = reduced(n, divisor);
    }
    if (lane == 0) set(result, n, 0, 0, 0, value);
  });
}

void runPlain(const CNNLoss& o, Context& context) {
  const Terms terms = termsOf(o, context);
  const Images loss = imagesOf(o.loss, context), gradient = imagesOf(o.gradient, context);
  const LossSettings settings = o.settings;
  const bool isReduced = settings.reduction != CNNReductionType::none;
  const bool isCosine = settings.type == CNNLossType::cosineDistance;
  const auto weight = static_cast<double>(settings.weight);
  if (gradient.data || !isReduced) {
    forEachElement(context, terms.source, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
      const auto element = terms.element(n, y, x, c);
      const Formulas formulas{terms.loss, element};
      if (loss.data && !isReduced) {
        set(loss, n, y, x, c, weight * (isCosine ? 1 : element.weight) * formulas.value());
      }
      if (gradient.data) set(gradient, n, y, x, c, weight * element.weight * formulas.derivative());
    });
  }
  if (loss.data && isReduced) writeReduced(settings, terms, loss, context);
}

void runGradientPlain(const NNLossGradient& o, Context& context) {
  const Terms terms = termsOf(o, context);
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const bool isOneForAll = o.gradient.pixels() * o.gradient.channels == 1, forLabels = o.forLabels;
  const auto weight = static_cast<double>(o.settings.weight);
  const std::size_t images = terms.source.images;
  double* factors = nullptr;
  if (o.isDivided) {
    const bool isCounted = o.settings.reduction == CNNReductionType::sumByNonZeroWeights;
    const Divisors divisors =
        divisorsOf(o.settings, terms.source, isCounted ? imageSums(terms, false, context) : nullptr);
    factors = context.scratch<double>(images);
    forEachRow(context, {1, images, 1}, [=] __device__(std::size_t, std::size_t n, unsigned lane) {
      const double divisor = divisors(n, lane);
      if (lane == 0) factors[n] = divisor == 0 ? 0 : weight / divisor;
    });
  }
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double incoming = isOneForAll ? at(gradient, n, 0, 0, 0) : at(gradient, n, y, x, c);
    const auto element = terms.element(n, y, x, c);
    const Formulas formulas{terms.loss, element};
    const double derivative = forLabels ? formulas.labelDerivative() : formulas.derivative();
    set(result, n, y, x, c, incoming * (factors ? factors[n] : weight) * element.weight * derivative);
  });
}

// --- Classes: soft-max cross entropy of one pixel an image
// --------------------------------------------------------------

/// The end of a classifier, in one launch.
struct ClassLoss {
  FewImages source, labels, weights, loss, gradient;
  math::Loss formula;
  double weight;
  CNNReductionType reduction;
  bool reducesBatch;
  double2* sums;  // of the images, for the reduction across the batch
  std::uint32_t* counter;
};

constexpr unsigned kClassWarps = 8;  // of a block

/// A warp: writes the gradient of an image, and returns the sum of its losses and how many of its weights are not 0.
__device__ double2 classGradient(const ClassLoss& o, std::size_t n, unsigned lane) {
  constexpr auto kType = CNNLossType::softMaxCrossEntropy;
  constexpr math::scalar::DoubleOps kOps;
  const Images source = o.source.get(), labels = o.labels.get(), weights = o.weights.get();
  const Images gradient = o.gradient.get();
  const SoftMaxPixel pixel = softMaxPixel(source, n, 0, 0, lane);
  const double logSum = pixel.maximum + log(pixel.sum);
  double2 sum = {0, 0};
  for (std::size_t c = lane; c < source.channels; c += 32) {
    const double y = at(source, n, 0, 0, c) - logSum, weight = atOr(weights, n, 0, 0, c, 1);
    const double label = math::scalar::lossLabel<kType>(kOps, o.formula, at(labels, n, 0, 0, c));
    sum.x += weight * math::scalar::lossValue<kType>(kOps, o.formula, y, label);
    sum.y += weight != 0 ? 1 : 0;
    if (!gradient.data) continue;
    const double derivative = math::scalar::lossDerivative<kType>(kOps, o.formula, exp(y), label);
    set(gradient, n, 0, 0, c, o.weight * weight * derivative);
  }
  return {warpSum(sum.x), warpSum(sum.y)};
}

/// A warp for each image; the last block adds up the batch.
__global__ void __launch_bounds__(32 * kClassWarps) classLossKernel(const __grid_constant__ ClassLoss o) {
  waitForFormer();
  const unsigned lane = threadIdx.x % 32;
  const std::size_t n = std::size_t{blockIdx.x} * kClassWarps + threadIdx.x / 32, images = o.source.images.images;
  const Images loss = o.loss.get();
  const bool countsWeights = o.reduction == CNNReductionType::sumByNonZeroWeights;  // a mean is of one pixel
  if (n < images) {
    const double2 sum = classGradient(o, n, lane);
    if (loss.data && lane == 0) {
      const double divisor = countsWeights ? sum.y : 1;
      const bool isOwn = !o.reducesBatch && divisor != 0;
      set(loss, n, 0, 0, 0, isOwn ? o.weight * sum.x / divisor : 0);
      if (o.reducesBatch) o.sums[n] = sum;
    }
  }
  if (!loss.data || !o.reducesBatch || !isLastBlock(o.counter, gridDim.x) || threadIdx.x >= 32) return;
  double2 total = {0, 0};
  for (std::size_t m = lane; m < images; m += 32) {
    const double2 sum = __ldcg(o.sums + m);
    total.x += sum.x;
    total.y += countsWeights ? sum.y : 1;
  }
  const double losses = warpSum(total.x), counted = warpSum(total.y);
  const double divisor = o.reduction == CNNReductionType::sum ? 1 : counted;
  if (lane == 0) set(loss, 0, 0, 0, 0, divisor == 0 ? 0 : o.weight * losses / divisor);
}

const char* refusesClasses(const CNNLoss& o, const Context&) {
  if (o.settings.type != CNNLossType::softMaxCrossEntropy) return "it is no soft-max cross entropy";
  if (o.settings.reduction == CNNReductionType::none) return "the losses are not reduced";
  if (o.source.pixels() != 1 || o.source.channels > 1024) return "an image is not one pixel of at most 1024 channels";
  for (const ImageView* view : {&o.source, &o.labels, &o.weights, &o.loss, &o.gradient}) {
    if (!areFew(*view)) return "more than 256 images lie anywhere";
  }
  return nullptr;
}

void runClasses(const CNNLoss& o, Context& context) {
  const LossSettings& s = o.settings;
  const ClassLoss loss{
      .source = fewImagesOf(o.source),
      .labels = fewImagesOf(o.labels),
      .weights = fewImagesOf(o.weights),
      .loss = fewImagesOf(o.loss),
      .gradient = fewImagesOf(o.gradient),
      .formula = math::makeLoss(s.type, s.labelSmoothing, s.numberOfClasses, s.epsilon, s.delta),
      .weight = static_cast<double>(s.weight),
      .reduction = s.reduction,
      .reducesBatch = s.reduceAcrossBatch,
      .sums = context.scratch<double2>(o.source.images),
      .counter = context.counters,
  };
  context.launchEarly(classLossKernel, blocksFor(o.source.images, kClassWarps), 32 * kClassWarps, loss);
}

constexpr std::array<Candidate<CNNLoss>, 2> kCandidates = {
    {{"one launch for classes", refusesClasses, runClasses}, {"plain", acceptsAll, runPlain}}};

}  // namespace

void run(const CNNLoss& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const NNLossGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<NNLossGradient, runGradientPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
