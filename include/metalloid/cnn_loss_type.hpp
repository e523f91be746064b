#pragma once

#include <cstdint>

namespace metalloid {

/// How a prediction y is compared with a label t. Formulas: docs/semantics.md. Source: MPSCNNLossType.
enum class CNNLossType : std::uint32_t {
  meanAbsoluteError = 0,          ///< |y - t|
  meanSquaredError = 1,           ///< (y - t)^2
  softMaxCrossEntropy = 2,        ///< -t * (y - ln(sum of exp(y))), y logits
  sigmoidCrossEntropy = 3,        ///< max(y, 0) - y*t + ln(1 + exp(-|y|)), y logits
  categoricalCrossEntropy = 4,    ///< -t * ln(y), y probabilities
  hinge = 5,                      ///< max(1 - (2t - 1)*y, 0), t 0 or 1
  huber = 6,                      ///< a^2/2 for a = |y - t| <= delta, else delta^2/2 + delta*(a - delta)
  cosineDistance = 7,             ///< 1 - sum of y*t, one value for an image
  log = 8,                        ///< -t * ln(y + epsilon) - (1 - t) * ln(1 - y + epsilon)
  kullbackLeiblerDivergence = 9,  ///< t * (ln(t) - y), y log-probabilities
  count = 10,                     ///< How many there are.
};

/// How the losses of an image become one. Source: MPSCNNReductionType.
enum class CNNReductionType : std::int32_t {
  none = 0,                 ///< Not at all: one loss for each element.
  sum = 1,                  ///< Their sum.
  mean = 2,                 ///< Sum / (width * height * channels); soft-max cross entropy: sum / (width * height).
  sumByNonZeroWeights = 3,  ///< Sum / (number of weights that are not 0).
  count = 4,                ///< How many there are.
};

}  // namespace metalloid
