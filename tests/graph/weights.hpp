#pragma once

#include <metalloid/metalloid.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::testing {

/// Parameters of a convolution in host memory. With a rate it trains: on the device by gradient descent in place, on
/// the host by the same rule.
class Weights : public CNNConvolutionDataSource {
 public:
  Weights(CNNConvolutionDescriptor descriptor, std::vector<float> weights, std::vector<float> biases,
          std::string label = "weights")
      : shape(std::move(descriptor)), values(std::move(weights)), terms(std::move(biases)), name(std::move(label)) {}

  DataType dataType() const override { return DataType::float32; }
  CNNConvolutionDescriptor descriptor() const override { return shape; }
  std::span<const std::byte> weights() override { return std::as_bytes(std::span(values)); }
  std::span<const float> biasTerms() override { return terms; }
  bool load() override { return ++loads, loadsWell; }
  void purge() override { ++purges; }
  std::string label() const override { return name; }

  CNNConvolutionWeightsAndBiasesState update(CommandBuffer& commandBuffer,
                                             const CNNConvolutionGradientState& gradientState,
                                             const CNNConvolutionWeightsAndBiasesState& sourceState) override {
    ++updates;
    if (rate == 0) return {};
    NNOptimizerStochasticGradientDescent optimizer(gradientState.device(), rate);
    optimizer.encode(
        commandBuffer,
        {.convolutionGradientState = gradientState, .convolutionSourceState = sourceState, .resultState = sourceState});
    live = sourceState;
    return sourceState;
  }
  bool update(const CNNConvolutionGradientState& gradientState,
              const CNNConvolutionWeightsAndBiasesState& sourceState) override {
    ++hostUpdates;
    if (rate == 0) return false;
    const auto step = [&](std::vector<float>& to, const Vector& from, const Vector& gradient) {
      to = from.read<float>();
      const auto g = gradient.read<float>();
      for (std::size_t i = 0; i < to.size(); ++i) to[i] -= rate * g[i];
    };
    step(values, sourceState.weights(), gradientState.gradientForWeights());
    if (!terms.empty()) step(terms, sourceState.biases(), gradientState.gradientForBiases());
    return true;
  }

  CNNConvolutionDescriptor shape;
  std::vector<float> values, terms;
  std::string name;
  float rate = 0;
  bool loadsWell = true;
  int loads = 0, purges = 0, updates = 0, hostUpdates = 0;
  CNNConvolutionWeightsAndBiasesState live;  // the weights in use, after an update on the device
};

/// A fully connected layer on images of one pixel.
inline std::shared_ptr<Weights> dense(std::size_t inputs, std::size_t outputs, std::vector<float> weights,
                                      std::vector<float> biases, std::string label = "dense") {
  return std::make_shared<Weights>(
      CNNConvolutionDescriptor{
          .kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = inputs, .outputFeatureChannels = outputs},
      std::move(weights), std::move(biases), std::move(label));
}

}  // namespace metalloid::testing
