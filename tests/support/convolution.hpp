#pragma once

#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/image.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::testing {

/// Weights of a layer from host memory, with everything that a data source can say open to change.
class ConvolutionWeights : public CNNConvolutionDataSource {
 public:
  explicit ConvolutionWeights(CNNConvolutionDescriptor d, std::vector<float> w, std::vector<float> b = {})
      : shape(std::move(d)), values(std::move(w)), biases(std::move(b)) {}

  DataType dataType() const override { return type; }
  CNNConvolutionDescriptor descriptor() const override { return shape; }
  std::span<const std::byte> weights() override { return bytes.empty() ? std::as_bytes(std::span(values)) : bytes; }
  std::span<const float> biasTerms() override { return biases; }
  bool load() override {
    loads += loadSucceeds ? 1 : 0;
    return loadSucceeds;
  }
  void purge() override { ++purges; }
  std::string label() const override { return name; }
  std::span<const std::array<float, 2>> rangesForUInt8Kernel() override { return ranges; }
  std::span<const float> lookupTableForUInt8Kernel() override { return table; }
  CNNWeightsQuantizationType weightsQuantizationType() const override { return quantization; }
  std::shared_ptr<CNNConvolutionDataSource> copy(const Device& device) override {
    return onCopy ? onCopy(device) : nullptr;
  }

  CNNConvolutionDescriptor shape;
  std::vector<float> values;
  std::vector<float> biases;
  DataType type = DataType::float32;
  std::vector<std::byte> bytes;  // in the place of the values
  std::vector<std::array<float, 2>> ranges;
  std::vector<float> table;
  CNNWeightsQuantizationType quantization = CNNWeightsQuantizationType::none;
  std::string name;
  bool loadSucceeds = true;
  int loads = 0;
  int purges = 0;
  std::function<std::shared_ptr<CNNConvolutionDataSource>(const Device&)> onCopy;
};

inline std::shared_ptr<ConvolutionWeights> weightsOf(CNNConvolutionDescriptor shape, std::vector<float> weights,
                                                     std::vector<float> biases = {}) {
  return std::make_shared<ConvolutionWeights>(std::move(shape), std::move(weights), std::move(biases));
}

/// The number of weights that a descriptor asks for.
inline std::size_t weightCount(const CNNConvolutionDescriptor& d) {
  return d.outputFeatureChannels * d.kernelHeight * d.kernelWidth *
         (d.isDepthWise ? 1 : d.inputFeatureChannels / d.groups);
}

inline Image imageOf(const Device& device, std::size_t width, std::size_t height, std::size_t channels,
                     const std::vector<float>& values = {},
                     ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float32) {
  Image image(device, {.channelFormat = format, .width = width, .height = height, .featureChannels = channels});
  if (!values.empty()) image.write(std::span<const float>(values));
  return image;
}

}  // namespace metalloid::testing
