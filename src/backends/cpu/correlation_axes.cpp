#include "backends/cpu/correlation.hpp"

#include <cstdlib>
#include <numeric>

namespace metalloid::cpu {

std::vector<CorrelationAxis> correlationAxes(const operations::WindowAxis& window, std::size_t outputs) {
  const std::ptrdiff_t divisor = window.divisor;
  const std::ptrdiff_t phases = divisor / std::gcd(window.step, divisor);
  const std::ptrdiff_t increment = divisor / std::gcd(window.tapStep, divisor);  // from tap to tap of one phase
  const auto taps = static_cast<std::ptrdiff_t>(window.taps);
  std::vector<CorrelationAxis> axes;
  for (std::ptrdiff_t phase = 0; phase < std::min(phases, static_cast<std::ptrdiff_t>(outputs)); ++phase) {
    CorrelationAxis axis;
    axis.firstOutput = static_cast<std::size_t>(phase);
    axis.outputStep = static_cast<std::size_t>(phases);
    axis.outputs = (outputs - axis.firstOutput + axis.outputStep - 1) / axis.outputStep;
    axis.step = window.step * phases / divisor;
    std::ptrdiff_t first = 0;
    while (first < taps && !window.position(axis.firstOutput, static_cast<std::size_t>(first))) ++first;
    if (first < taps) {
      axis.taps = static_cast<std::size_t>((taps - first - 1) / increment + 1);
      axis.firstTap = first;
      axis.tapIncrement = increment;
      const std::ptrdiff_t distance = window.tapStep * increment / divisor;
      if (distance < 0) {  // from the last tap back, so that positions ascend
        axis.firstTap += increment * static_cast<std::ptrdiff_t>(axis.taps - 1);
        axis.tapIncrement = -increment;
      }
      axis.tapStep = static_cast<std::size_t>(std::abs(distance));
      axis.base = *window.position(axis.firstOutput, static_cast<std::size_t>(axis.firstTap));
    }
    axes.push_back(axis);
  }
  return axes;
}

operations::WindowAxis inverse(const operations::WindowAxis& window, std::size_t begin) {
  return {.taps = window.taps,
          .step = window.divisor,
          .base = window.divisor * static_cast<std::ptrdiff_t>(begin) - window.base,
          .tapStep = -window.tapStep,
          .divisor = window.step};
}

}  // namespace metalloid::cpu
