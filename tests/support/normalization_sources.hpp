#pragma once

#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace metalloid::testing {

/// What a normalization of a test is made from. Empty: nil.
struct NormalizationValues {
  std::size_t channels = 1;
  std::vector<float> gamma = {};
  std::vector<float> beta = {};
  std::vector<float> mean = {};
  std::vector<float> variance = {};
  float epsilon = 0;
  std::size_t groups = 1;
};

/// A data source that says what it is told to, and counts.
template <class Base>
class NormalizationSource : public Base {
 public:
  explicit NormalizationSource(NormalizationValues given) : values(std::move(given)) {}

  std::size_t numberOfFeatureChannels() const override { return values.channels; }
  std::string label() const override { return name; }
  std::span<const float> gamma() override { return values.gamma; }
  std::span<const float> beta() override { return values.beta; }
  float epsilon() const override { return values.epsilon; }
  bool load() override {
    if (loads) ++loaded;
    return loads;
  }
  void purge() override { --loaded; }

  NormalizationValues values;
  std::string name;
  bool loads = true;
  int loaded = 0;  // loads without a purge
};

class BatchNormalizationSource : public NormalizationSource<CNNBatchNormalizationDataSource> {
 public:
  using NormalizationSource::NormalizationSource;
  std::span<const float> mean() override { return values.mean; }
  std::span<const float> variance() override { return values.variance; }
};

using InstanceNormalizationSource = NormalizationSource<CNNInstanceNormalizationDataSource>;

class GroupNormalizationSource : public NormalizationSource<CNNGroupNormalizationDataSource> {
 public:
  using NormalizationSource::NormalizationSource;
  std::size_t numberOfGroups() const override { return values.groups; }
  void setNumberOfGroups(std::size_t numberOfGroups) override { values.groups = numberOfGroups; }
};

/// The kernel over a source with these values.
inline CNNBatchNormalization batchNormalization(const Device& device, const NormalizationValues& values,
                                                const NNNeuronDescriptor& neuron = {}) {
  return {device, std::make_shared<BatchNormalizationSource>(values), neuron};
}
inline CNNInstanceNormalization instanceNormalization(const Device& device, const NormalizationValues& values) {
  return {device, std::make_shared<InstanceNormalizationSource>(values)};
}
inline CNNGroupNormalization groupNormalization(const Device& device, const NormalizationValues& values) {
  return {device, std::make_shared<GroupNormalizationSource>(values)};
}

}  // namespace metalloid::testing
