#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <cmath>
#include <vector>

namespace metalloid::reference {
namespace {

/// A block of channels of one image.
struct Block {
  std::size_t image, first, channels;
};

template <class F>
void forEachBlock(const operations::ImageView& view, std::size_t groups, F&& f) {
  const std::size_t channels = view.channels / groups;
  for (std::size_t n = 0; n < view.images; ++n) {
    for (std::size_t q = 0; q < groups; ++q) f(Block{n, q * channels, channels});
  }
}

/// Calls f(y, x, c) for the elements of a block.
template <class F>
void forEachIn(const operations::ImageView& view, const Block& block, F&& f) {
  for (std::size_t y = 0; y < view.height; ++y) {
    for (std::size_t x = 0; x < view.width; ++x) {
      for (std::size_t c = block.first; c < block.first + block.channels; ++c) f(y, x, c);
    }
  }
}

struct Statistics {
  double mean = 0;
  double r = 0;
};

Statistics statisticsOf(const operations::ImageView& source, const Block& block, float epsilon) {
  const auto count = static_cast<double>(source.pixels() * block.channels);
  double mean = 0, squares = 0;
  forEachIn(source, block,
            [&](std::size_t y, std::size_t x, std::size_t c) { mean += at(source, block.image, y, x, c); });
  mean /= count;
  forEachIn(source, block, [&](std::size_t y, std::size_t x, std::size_t c) {
    const double deviation = at(source, block.image, y, x, c) - mean;
    squares += deviation * deviation;
  });
  return {mean, 1 / std::sqrt(squares / count + static_cast<double>(epsilon))};
}

}  // namespace

void run(const operations::CNNGroupNormalization& operation) {
  forEachBlock(operation.source, operation.groups, [&](const Block& block) {
    const auto [mean, r] = statisticsOf(operation.source, block, operation.epsilon);
    forEachIn(operation.source, block, [&, mean = mean, r = r](std::size_t y, std::size_t x, std::size_t c) {
      const double xh = (at(operation.source, block.image, y, x, c) - mean) * r;
      set(operation.result, block.image, y, x, c, at(operation.gamma, c, 1) * xh + at(operation.beta, c, 0));
    });
  });
}

void run(const operations::CNNGroupNormalizationGradient& operation) {
  const auto& source = operation.source;
  forEachBlock(source, operation.groups, [&](const Block& block) {
    const auto [mean, r] = statisticsOf(source, block, operation.epsilon);
    const auto count = static_cast<double>(source.pixels() * block.channels);
    std::vector<double> forGamma(source.channels), forBeta(source.channels);
    double sumH = 0, sumHXh = 0;
    const auto element = [&, mean = mean, r = r](std::size_t y, std::size_t x, std::size_t c, auto&& f) {
      f(at(operation.gradient, block.image, y, x, c), (at(source, block.image, y, x, c) - mean) * r);
    };
    forEachIn(source, block, [&](std::size_t y, std::size_t x, std::size_t c) {
      element(y, x, c, [&](double g, double xh) {
        forGamma[c] += g * xh;
        forBeta[c] += g;
        sumH += g * at(operation.gamma, c, 1);
        sumHXh += g * at(operation.gamma, c, 1) * xh;
      });
    });
    forEachIn(source, block, [&, r = r](std::size_t y, std::size_t x, std::size_t c) {
      element(y, x, c, [&](double g, double xh) {
        const double dx = r * (g * at(operation.gamma, c, 1) - sumH / count - xh * sumHXh / count);
        set(operation.result, block.image, y, x, c, dx);
      });
    });
    for (std::size_t c = block.first; c < block.first + block.channels; ++c) {
      if (operation.resultForGamma) set(operation.resultForGamma.vector(block.image), c, forGamma[c]);
      if (operation.resultForBeta) set(operation.resultForBeta.vector(block.image), c, forBeta[c]);
    }
  });
}

}  // namespace metalloid::reference
