#pragma once

#include "training/batch.hpp"

#include <metalloid/device.hpp>
#include <metalloid/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace metalloid::training {

/// Loss and correctness of every sample of a pass over some images, kept on the device, so that the host reads them
/// when it likes and never has to for the work to go on.
class SampleLog {
 public:
  SampleLog(const Device& device, std::size_t maximumSamples);

  /// A pass begins: `samples` samples in batches of `batchSize` and a last one with what remains.
  void begin(std::size_t samples, std::size_t batchSize);

  /// Where the batch that starts at this sample puts its results.
  SampleResults results(std::size_t first, std::size_t rows) const;

  struct Sample {
    double loss = 0;
    bool isCorrect = false;
  };

  /// The samples from `first` to before `last`, after all committed work on them.
  std::vector<Sample> read(std::size_t first, std::size_t last) const;

 private:
  Vector losses_;
  Vector correct_;
  std::size_t samples_ = 0;
  std::size_t batchSize_ = 1;
};

}  // namespace metalloid::training
