#include "operations/cnn_pooling.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <optional>
#include <vector>

namespace metalloid::reference {
namespace {

using operations::PoolingType;

struct Pixel {
  std::size_t y = 0;
  std::size_t x = 0;
};

/// Calls f(pixel) for each tap of the window of output (i, j): the pixel that it reads, none where it reads 0.
template <class Operation, class F>
void forEachTap(const Operation& operation, std::size_t i, std::size_t j, F&& f) {
  const auto& [x, y] = operation.window;
  const auto height = static_cast<std::ptrdiff_t>(operation.source.height),
             width = static_cast<std::ptrdiff_t>(operation.source.width);
  for (std::size_t q = 0; q < y.taps; ++q) {
    for (std::size_t p = 0; p < x.taps; ++p) {
      std::ptrdiff_t row = *y.position(i, q), column = *x.position(j, p);
      // An average counts what lies outside, it does not read it.
      if (operation.edgeMode == ImageEdgeMode::clamp && operation.type != PoolingType::average) {
        row = std::clamp<std::ptrdiff_t>(row, 0, height - 1);
        column = std::clamp<std::ptrdiff_t>(column, 0, width - 1);
      }
      const bool isInside = row >= 0 && row < height && column >= 0 && column < width;
      f(isInside ? std::optional(Pixel{static_cast<std::size_t>(row), static_cast<std::size_t>(column)})
                 : std::nullopt);
    }
  }
}

template <class Operation>
double averageDivisor(const Operation& operation, std::size_t i, std::size_t j) {
  const auto along = [&](const operations::WindowAxis& axis, std::size_t o, std::size_t size, std::size_t zeroPad) {
    return static_cast<double>(operations::averageDivisor(axis, o, size, operation.edgeMode, zeroPad));
  };
  return along(operation.window.y, i, operation.source.height, operation.zeroPadSizeY) *
         along(operation.window.x, j, operation.source.width, operation.zeroPadSizeX);
}

/// The largest of a window, and where it stands: nowhere when it is the 0 outside.
struct Largest {
  double value = 0;
  std::optional<Pixel> pixel;
};

template <class Operation>
Largest largest(const Operation& operation, std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
  Largest result;
  bool readsZero = false;
  forEachTap(operation, i, j, [&](std::optional<Pixel> tap) {
    if (!tap) {
      readsZero = true;
      return;
    }
    const double value = at(operation.source, n, tap->y, tap->x, c);
    if (result.pixel && !(value > result.value) && !(std::isnan(value) && !std::isnan(result.value))) return;
    result = {value, tap};
  });
  return readsZero && (!result.pixel || result.value < 0) ? Largest{} : result;
}

template <class Operation>
double l2Norm(const Operation& operation, std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
  double sum = 0;
  forEachTap(operation, i, j, [&](std::optional<Pixel> tap) {
    if (!tap) return;
    const double value = at(operation.source, n, tap->y, tap->x, c);
    sum += value * value;
  });
  return std::sqrt(sum);
}

double average(const operations::CNNPooling& operation, std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
  double sum = 0;
  forEachTap(operation, i, j, [&](std::optional<Pixel> tap) {
    if (tap) sum += at(operation.source, n, tap->y, tap->x, c);
  });
  const double divisor = averageDivisor(operation, i, j);
  return divisor == 0 ? 0 : sum / divisor;
}

}  // namespace

void run(const operations::CNNPooling& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto value = [&] {
      switch (operation.type) {
        case PoolingType::max:
          return largest(operation, n, i, j, c).value;
        case PoolingType::average:
          return average(operation, n, i, j, c);
        default:
          return l2Norm(operation, n, i, j, c);
      }
    };
    set(operation.result, n, i, j, c, value());
  });
}

void run(const operations::CNNPoolingGradient& operation) {
  const auto& result = operation.result;
  std::vector<double> sums(result.images * result.pixels() * result.channels);
  forEachElement(operation.gradient, [&](std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const double g = at(operation.gradient, n, i, j, c);
    const auto add = [&](const Pixel& pixel, double value) {
      if (pixel.y < operation.resultY || pixel.x < operation.resultX) return;
      const std::size_t v = pixel.y - operation.resultY, u = pixel.x - operation.resultX;
      if (v >= result.height || u >= result.width) return;
      sums[((n * result.height + v) * result.width + u) * result.channels + c] += value;
    };
    if (operation.type == PoolingType::max) {
      if (const auto pixel = largest(operation, n, i, j, c).pixel) add(*pixel, g);
    } else if (operation.type == PoolingType::average) {
      const double each = g / averageDivisor(operation, i, j);  // where it is 0, so is the number of taps inside
      forEachTap(operation, i, j, [&](std::optional<Pixel> tap) {
        if (tap) add(*tap, each);
      });
    } else {
      const double norm = l2Norm(operation, n, i, j, c);
      if (norm == 0) return;
      forEachTap(operation, i, j, [&](std::optional<Pixel> tap) {
        if (tap) add(*tap, g * at(operation.source, n, tap->y, tap->x, c) / norm);
      });
    }
  });
  std::size_t next = 0;
  forEachElement(result, [&](std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    set(result, n, v, u, c, sums[next++]);
  });
}

}  // namespace metalloid::reference
