#include "operations/cnn_group_normalization.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNGroupNormalization;
using operations::CNNGroupNormalizationGradient;

// Sums go channel by channel over the pixels of an image first, then over the channels of a group: as many threads as
// images and channels, for one group as for many.

/// The channels of a group and the elements of one image in it.
struct Groups {
  std::size_t groups, channels;
  double count;
};

template <class Operation>
Groups groupsOf(const Operation& o) {
  const std::size_t channels = o.source.channels / o.groups;
  return {o.groups, channels, static_cast<double>(o.source.pixels() * channels)};
}

ChannelRows rowsOf(const Images& images) { return {images.images, images.pixels(), images.channels}; }

__device__ double atPixel(const Images& images, std::size_t n, std::size_t pixel, std::size_t c) {
  return at(images, n, pixel / images.width, pixel % images.width, c);
}

/// For each image and group: its mean and 1 / sqrt(variance + epsilon).
double2* statistics(const Images& source, const Groups& groups, double epsilon, Context& context) {
  auto* const sums = context.scratch<double2>(source.images * source.channels);
  auto* const results = context.scratch<double2>(source.images * groups.groups);
  const std::size_t channels = source.channels;
  // Distances from the first element of the group keep the squares small.
  forEachChannelSum(
      context, rowsOf(source),
      [=] __device__(std::size_t n, std::size_t pixel, std::size_t c) -> double2 {
        const double distance =
            atPixel(source, n, pixel, c) - at(source, n, 0, 0, c / groups.channels * groups.channels);
        return {distance, distance * distance};
      },
      [=] __device__(std::size_t n, std::size_t c, double2 sum) { sums[n * channels + c] = sum; });
  forEachRow(
      context, {source.images, groups.groups, 1}, [=] __device__(std::size_t n, std::size_t group, unsigned lane) {
        const std::size_t first = group * groups.channels;
        double sum = 0, squares = 0;
        for (std::size_t c = lane; c < groups.channels; c += 32) {
          sum += sums[n * channels + first + c].x;
          squares += sums[n * channels + first + c].y;
        }
        sum = warpSum(sum);
        squares = warpSum(squares);
        const double distance = sum / groups.count;
        double variance = squares / groups.count - distance * distance;
        if (variance < 0) variance = 0;
        if (lane == 0) {
          results[n * groups.groups + group] = {at(source, n, 0, 0, first) + distance, 1 / sqrt(variance + epsilon)};
        }
      });
  return results;
}

void runPlain(const CNNGroupNormalization& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const Groups groups = groupsOf(o);
  const double2* const known = statistics(source, groups, double{o.epsilon}, context);
  const VectorView gamma = o.gamma, beta = o.beta;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double2 group = known[n * groups.groups + c / groups.channels];
    const double xh = (at(source, n, y, x, c) - group.x) * group.y;
    set(result, n, y, x, c, atOr(gamma, 0, c, 1) * xh + atOr(beta, 0, c, 0));
  });
}

void runGradientPlain(const CNNGroupNormalizationGradient& o, Context& context) {
  const Images source = imagesOf(o.source, context), gradient = imagesOf(o.gradient, context);
  const Images result = imagesOf(o.result, context);
  const Groups groups = groupsOf(o);
  const double2* const known = statistics(source, groups, double{o.epsilon}, context);
  const VectorView gamma = o.gamma, forGamma = o.resultForGamma, forBeta = o.resultForBeta;
  auto* const sums = context.scratch<double2>(source.images * source.channels);
  auto* const means = context.scratch<double2>(source.images * groups.groups);
  const std::size_t channels = source.channels;
  forEachChannelSum(
      context, rowsOf(source),
      [=] __device__(std::size_t n, std::size_t pixel, std::size_t c) -> double2 {
        const double2 group = known[n * groups.groups + c / groups.channels];
        const double g = atPixel(gradient, n, pixel, c);
        return {g * ((atPixel(source, n, pixel, c) - group.x) * group.y), g};
      },
      [=] __device__(std::size_t n, std::size_t c, double2 sum) {
        sums[n * channels + c] = sum;
        if (forGamma.data) set(forGamma, n, c, sum.x);
        if (forBeta.data) set(forBeta, n, c, sum.y);
      });
  forEachRow(context, {source.images, groups.groups, 1},
             [=] __device__(std::size_t n, std::size_t group, unsigned lane) {
               double2 sum = {0, 0};
               for (std::size_t k = lane; k < groups.channels; k += 32) {
                 const std::size_t c = group * groups.channels + k;
                 sum.x += sums[n * channels + c].x * atOr(gamma, 0, c, 1);
                 sum.y += sums[n * channels + c].y * atOr(gamma, 0, c, 1);
               }
               sum = {warpSum(sum.x), warpSum(sum.y)};
               if (lane == 0) means[n * groups.groups + group] = {sum.x / groups.count, sum.y / groups.count};
             });
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const std::size_t group = n * groups.groups + c / groups.channels;
    const double r = known[group].y, xh = (at(source, n, y, x, c) - known[group].x) * r;
    const double h = at(gradient, n, y, x, c) * atOr(gamma, 0, c, 1);
    set(result, n, y, x, c, r * (h - means[group].y - xh * means[group].x));
  });
}

}  // namespace

void run(const CNNGroupNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNGroupNormalization, runPlain>, operation, context, explainer);
}

void run(const CNNGroupNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNGroupNormalizationGradient, runGradientPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
