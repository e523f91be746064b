#pragma once

#include <metalloid/vector.hpp>

#include <atomic>
#include <cstddef>
#include <limits>
#include <span>
#include <string>

namespace metalloid::detail {

/// What the data sources of all normalizations have.
class NormalizationDataSource {
 public:
  virtual ~NormalizationDataSource() = default;

  /// C, the number of channels.
  virtual std::size_t numberOfFeatureChannels() const = 0;
  /// A name for messages; empty for none.
  virtual std::string label() const = 0;

  /// C factors; empty: 1.
  virtual std::span<const float> gamma() = 0;
  /// C summands; empty: 0.
  virtual std::span<const float> beta() = 0;
  /// Added to the variance. Default the smallest normal float, 1.17549435e-38.
  virtual float epsilon() const { return std::numeric_limits<float>::min(); }

  /// Called before the spans are asked for; they stay as they are until `purge`. Returning false makes the caller fail.
  virtual bool load() { return true; }
  /// Called once after each `load`.
  virtual void purge() {}
};

/// Scale, shift and statistics of a normalization on its device. A kernel, its copies by assignment and its
/// states share one object, so that an update in place reaches all of them without a copy.
struct NormalizationParameters {
  Vector gamma;     // [C] float32, 1 where the data source has none
  Vector beta;      // [C] float32, 0 where the data source has none
  Vector mean;      // [C] float32, 0 where the data source has none; nil for kernels that take all from the image
  Vector variance;  // [C] float32, 1 where the data source has none; nil as above
  std::atomic<bool> hasStatistics = false;  // mean and variance are the data source's, or an update's

  std::size_t channels() const { return gamma.length(); }
};

}  // namespace metalloid::detail
