// Image by image: what one pass reads, the next finds in the caches. Statistics are gathered by channel and then folded
// into those of the groups.

#include "operations/cnn_group_normalization.hpp"

#include "backends/cpu/column_normalization.hpp"
#include "backends/cpu/image_matrices.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"

namespace metalloid::cpu {
namespace {

/// Small images are shared out among the threads, large ones each among all of them.
constexpr std::size_t kSmallImage = std::size_t{64} << 10;  // elements

/// Tiles worth a task each.
Tiles tilesOf(std::size_t rows, std::size_t channels) {
  constexpr std::size_t kElements = 16384;
  return {rows, channels, kColumnsPerTile, std::max<std::size_t>(kElements / channels, 8)};
}

/// What one image is worked on with. mean, s, scale, shift and slope have an element for each channel.
struct Workspace {
  double* moments;
  double* sums;
  float *mean, *s, *scale, *shift, *slope;
};

/// Calls f(n, workspace) for every image.
template <class F>
void forEachImage(const operations::ImageView& view, const Tiles& tiles, Context& context, const F& f) {
  const std::size_t channels = view.channels;
  const bool isSmall = view.images > 1 && view.pixels() * channels <= kSmallImage;
  const std::size_t copies = isSmall ? view.images : 1;
  const std::size_t moments = ColumnMoments::workspace(tiles, channels);
  const std::size_t sums = GradientSums::workspace(tiles, channels);
  auto* const doubles = context.scratch.take<double>(copies * (moments + sums));
  auto* const singles = context.scratch.take<float>(copies * 5 * channels);
  const auto one = [&](std::size_t n) {
    double* const mine = doubles + (isSmall ? n : 0) * (moments + sums);
    float* const vectors = singles + (isSmall ? n : 0) * 5 * channels;
    f(n, Workspace{mine, mine + moments, vectors, vectors + channels, vectors + 2 * channels, vectors + 3 * channels,
                   vectors + 4 * channels});
  };
  if (isSmall) {
    context.pool.parallelFor(view.images, one);  // loops within it run on its threads
  } else {
    for (std::size_t n = 0; n < view.images; ++n) one(n);
  }
}

/// Calls f(first channel, end, number of elements) for each group of one image.
template <class F>
void forEachGroupOf(const operations::ImageView& view, std::size_t groups, const F& f) {
  const std::size_t channels = view.channels / groups;
  for (std::size_t q = 0; q < groups; ++q)
    f(q * channels, (q + 1) * channels, static_cast<double>(view.pixels() * channels));
}

/// Folds the statistics of the channels of each group and writes its mean and scale for each of them.
void foldStatistics(const ColumnMoments& moments, const operations::ImageView& view, std::size_t groups, float epsilon,
                    const Workspace& workspace) {
  forEachGroupOf(view, groups, [&](std::size_t begin, std::size_t end, double count) {
    double mean = 0, squares = 0;
    for (std::size_t c = begin; c < end; ++c) mean += moments.mean(c);
    mean /= static_cast<double>(end - begin);
    for (std::size_t c = begin; c < end; ++c) {
      const double deviation = moments.mean(c) - mean;
      squares += moments.squares(c) + moments.count() * deviation * deviation;
    }
    std::fill(workspace.mean + begin, workspace.mean + end, static_cast<float>(mean));
    std::fill(workspace.s + begin, workspace.s + end, scaleOf(squares / count, epsilon));
  });
}

std::size_t rowsOfImage(const operations::ImageView& view, bool wholeImages) {
  return wholeImages ? view.pixels() : view.width;
}

/// dx = gamma * s * g - s * (mean of h) - s * xhat * (mean of h * xhat), h = gamma * g
void foldGradients(const GradientSums& sums, const operations::ImageView& view, std::size_t groups, const float* gamma,
                   const Workspace& workspace) {
  const auto gammaAt = [&](std::size_t c) { return gamma ? static_cast<double>(gamma[c]) : 1.0; };
  forEachGroupOf(view, groups, [&](std::size_t begin, std::size_t end, double count) {
    const auto s = static_cast<double>(workspace.s[begin]);
    double h = 0, hXhat = 0;
    for (std::size_t c = begin; c < end; ++c) {
      h += gammaAt(c) * sums.g(c);
      hXhat += gammaAt(c) * sums.gXhat(c);
    }
    for (std::size_t c = begin; c < end; ++c) {
      workspace.scale[c] = static_cast<float>(gammaAt(c) * s);
      workspace.shift[c] = static_cast<float>(s * h / count);
      workspace.slope[c] = static_cast<float>(s * hXhat / count);
    }
  });
}

}  // namespace

void runSimd(const operations::CNNGroupNormalization& operation, Context& context) {
  const auto& view = operation.source;
  if (view.pixels() == 0) return;
  const bool wholeImages = detail::hasEvenPixels(view) && detail::hasEvenPixels(operation.result);
  const Tiles tiles = tilesOf(rowsOfImage(view, wholeImages), view.channels);
  const float* const gamma = reinterpret_cast<const float*>(operation.gamma.data);
  const float* const beta = reinterpret_cast<const float*>(operation.beta.data);
  forEachImage(view, tiles, context, [&](std::size_t n, const Workspace& workspace) {
    const auto parts = partsOf(imageOf(operation.source, n), imageOf(operation.result, n));
    ColumnMoments moments(tiles, view.channels, workspace.moments);
    for (const auto& [source, result] : parts) moments.add(source, context.pool);
    foldStatistics(moments, view, operation.groups, operation.epsilon, workspace);
    const Columns columns{workspace.mean, workspace.s, gamma, beta};
    for (const auto& [source, result] : parts) normalize(source, result, tiles, columns, {}, context.pool);
  });
}

void runSimd(const operations::CNNGroupNormalizationGradient& operation, Context& context) {
  const auto& view = operation.source;
  const bool wholeImages = detail::hasEvenPixels(operation.gradient) && detail::hasEvenPixels(view) &&
                           detail::hasEvenPixels(operation.result);
  const Tiles tiles = tilesOf(rowsOfImage(view, wholeImages), view.channels);
  const float* const gamma = reinterpret_cast<const float*>(operation.gamma.data);
  forEachImage(view, tiles, context, [&](std::size_t n, const Workspace& workspace) {
    const auto parts =
        partsOf(imageOf(operation.gradient, n), imageOf(operation.source, n), imageOf(operation.result, n));
    ColumnMoments moments(tiles, view.channels, workspace.moments);
    for (const auto& [gradient, source, result] : parts) moments.add(source, context.pool);
    foldStatistics(moments, view, operation.groups, operation.epsilon, workspace);
    const Columns columns{workspace.mean, workspace.s, gamma, nullptr};
    GradientSums sums(tiles, view.channels, workspace.sums);
    for (const auto& [gradient, source, result] : parts) sums.add(gradient, source, columns, {}, context.pool);
    const auto store = [&](const operations::VectorView& vector, auto&& value) {
      if (!vector) return;
      auto* const to = reinterpret_cast<float*>(vector.vector(n).data);
      for (std::size_t c = 0; c < view.channels; ++c) to[c] = static_cast<float>(value(c));
    };
    store(operation.resultForGamma, [&](std::size_t c) { return sums.gXhat(c); });
    store(operation.resultForBeta, [&](std::size_t c) { return sums.g(c); });
    foldGradients(sums, view, operation.groups, gamma, workspace);
    const DataColumns data{workspace.scale, workspace.shift, workspace.slope};
    for (const auto& [gradient, source, result] : parts)
      gradientForData(gradient, source, result, tiles, columns, data, {}, context.pool);
  });
}

}  // namespace metalloid::cpu
