#include "backends/loss_reduction.hpp"

namespace metalloid::backends {

std::vector<double> lossDivisors(const operations::LossSettings& settings, const operations::ImageView& source,
                                 const std::vector<LossSum>& sums) {
  std::vector<double> divisors;
  for (const LossSum& sum : sums) {
    switch (settings.reduction) {
      case CNNReductionType::mean: {
        const bool perPixel = settings.type == CNNLossType::softMaxCrossEntropy;
        divisors.push_back(static_cast<double>(source.pixels() * (perPixel ? 1 : source.channels)));
        break;
      }
      case CNNReductionType::sumByNonZeroWeights:
        divisors.push_back(sum.nonZeroWeights);
        break;
      default:
        divisors.push_back(1);
    }
  }
  if (!settings.reduceAcrossBatch || settings.reduction == CNNReductionType::none ||
      settings.reduction == CNNReductionType::sum)
    return divisors;
  double total = 0;
  for (const double divisor : divisors) total += divisor;
  divisors.assign(divisors.size(), total);
  return divisors;
}

std::vector<double> reducedLosses(const operations::LossSettings& settings, const operations::ImageView& source,
                                  const std::vector<LossSum>& sums) {
  const std::vector<double> divisors = lossDivisors(settings, source, sums);
  std::vector<double> losses;
  for (std::size_t n = 0; n < sums.size(); ++n) {
    const double sum = settings.type == CNNLossType::cosineDistance ? 1 + sums[n].loss : sums[n].loss;
    losses.push_back(divisors[n] == 0 ? 0 : static_cast<double>(settings.weight) * sum / divisors[n]);
  }
  if (settings.reduceAcrossBatch) {
    for (std::size_t n = 1; n < losses.size(); ++n) {
      losses.front() += losses[n];
      losses[n] = 0;
    }
  }
  return losses;
}

}  // namespace metalloid::backends
