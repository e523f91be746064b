#include "training/sample_log.hpp"

#include "training/array_parts.hpp"

namespace metalloid::training {

SampleLog::SampleLog(const Device& device, std::size_t maximumSamples)
    : losses_(device, {.length = maximumSamples}), correct_(device, {.length = maximumSamples}) {
  losses_.setLabel("losses");
  correct_.setLabel("correct");
}

void SampleLog::begin(std::size_t samples, std::size_t batchSize) {
  samples_ = samples;
  batchSize_ = batchSize;
}

SampleResults SampleLog::results(std::size_t first, std::size_t rows) const {
  return {.losses = someElements(losses_, first, rows), .correct = someElements(correct_, first, rows), .logits = {}};
}

std::vector<SampleLog::Sample> SampleLog::read(std::size_t first, std::size_t last) const {
  if (first == last) return {};
  const auto losses = someElements(losses_, first, last - first).read<float>();
  const auto correct = someElements(correct_, first, last - first).read<float>();
  std::vector<Sample> samples(last - first);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    // The kernel has divided by the rows of the sample's batch.
    const std::size_t batchStart = (first + i) / batchSize_ * batchSize_;
    const std::size_t rows = std::min(batchSize_, samples_ - batchStart);
    samples[i] = {.loss = double{losses[i]} * static_cast<double>(rows), .isCorrect = correct[i] != 0};
  }
  return samples;
}

}  // namespace metalloid::training
