#pragma once

#include "operations/cnn_loss.hpp"

#include <cstddef>
#include <vector>

/// How the losses of images become what their loss images hold: the same on every back end.
namespace metalloid::backends {

/// Of one image: the sum of its losses, without the scalar weight, and how many of its weights are not 0.
struct LossSum {
  double loss = 0;
  double nonZeroWeights = 0;
};

/// What the sum of the losses of each image is divided by; of the batch, where it is reduced. A divisor of 0 means that
/// the result is 0.
std::vector<double> lossDivisors(const operations::LossSettings& settings, const operations::ImageView& source,
                                 const std::vector<LossSum>& sums);

/// The values of the loss images.
std::vector<double> reducedLosses(const operations::LossSettings& settings, const operations::ImageView& source,
                                  const std::vector<LossSum>& sums);

/// Whether weights must be counted.
inline bool countsWeights(const operations::LossSettings& settings, const operations::ImageView& weights) {
  return weights && settings.reduction == CNNReductionType::sumByNonZeroWeights;
}

}  // namespace metalloid::backends
