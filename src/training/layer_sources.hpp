#pragma once

#include "training/layered_network.hpp"
#include "training/trained_tensor.hpp"
#include "training/training_options.hpp"

#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>
#include <metalloid/device.hpp>
#include <metalloid/nn_optimizer.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

/// The data sources of a layered network: they hold the parameters of its layers, and graphs that train call them to
/// update these on the device. A graph for evaluation has the same data sources and reads them anew after training.
namespace metalloid::training {

/// What the layers of a network share.
struct TrainingContext {
  Device device;
  OptimizerOptions optimizer;
  float learningRate = 0;  ///< Of the step that is being encoded.
};

/// The tensors of one layer.
class LayerSource {
 public:
  virtual ~LayerSource() = default;
  virtual std::vector<TrainedTensor*> tensors() = 0;
};

/// Weights and biases of a convolution or a dense layer.
class ConvolutionSource final : public CNNConvolutionDataSource, public LayerSource {
 public:
  ConvolutionSource(const TrainingContext& context, const Layer& layer, std::size_t inputChannels);

  /// Products that are summed for one output.
  std::size_t inputsOfAnOutput() const { return weights_.elements() / descriptor_.outputFeatureChannels; }
  TrainedTensor& weightTensor() { return weights_; }
  std::vector<TrainedTensor*> tensors() override { return {&weights_, &biases_}; }

  DataType dataType() const override { return DataType::float32; }
  CNNConvolutionDescriptor descriptor() const override { return descriptor_; }
  std::span<const std::byte> weights() override { return std::as_bytes(weights_.values()); }
  std::span<const float> biasTerms() override { return biases_.values(); }
  bool load() override;
  void purge() override {}
  std::string label() const override { return label_; }
  using CNNConvolutionDataSource::update;
  CNNConvolutionWeightsAndBiasesState update(CommandBuffer& commandBuffer,
                                             const CNNConvolutionGradientState& gradientState,
                                             const CNNConvolutionWeightsAndBiasesState& sourceState) override;

 private:
  const TrainingContext& context_;
  std::string label_;
  CNNConvolutionDescriptor descriptor_;
  TrainedTensor weights_, biases_;
};

/// Scale and shift of a normalization.
struct ScaleAndShift {
  ScaleAndShift(const TrainingContext& context, const Layer& layer);

  CNNNormalizationGammaAndBetaState update(CommandBuffer& commandBuffer, const Vector& gammaGradient,
                                           const Vector& betaGradient, const Vector& liveGamma, const Vector& liveBeta);

  const TrainingContext& context;
  std::string label;
  float epsilon;
  TrainedTensor gamma, beta;
};

/// Parameters and running statistics of a batch normalization. The running ones follow those of the batches,
/// running = (1 - momentum) * running + momentum * batch, with the biased variance.
class BatchNormalizationSource final : public CNNBatchNormalizationDataSource, public LayerSource {
 public:
  BatchNormalizationSource(const TrainingContext& context, const Layer& layer);

  std::vector<TrainedTensor*> tensors() override {
    return {&parameters_.gamma, &parameters_.beta, &runningMean_, &runningVariance_};
  }

  std::size_t numberOfFeatureChannels() const override { return parameters_.gamma.elements(); }
  std::string label() const override { return parameters_.label; }
  std::span<const float> gamma() override { return parameters_.gamma.values(); }
  std::span<const float> beta() override { return parameters_.beta.values(); }
  std::span<const float> mean() override { return runningMean_.values(); }
  std::span<const float> variance() override { return runningVariance_.values(); }
  float epsilon() const override { return parameters_.epsilon; }
  bool load() override;
  void purge() override {}
  using CNNBatchNormalizationDataSource::updateGammaAndBeta;
  using CNNBatchNormalizationDataSource::updateMeanAndVariance;
  CNNNormalizationGammaAndBetaState updateGammaAndBeta(CommandBuffer& commandBuffer,
                                                       const CNNBatchNormalizationState& state) override;
  CNNNormalizationMeanAndVarianceState updateMeanAndVariance(CommandBuffer& commandBuffer,
                                                             const CNNBatchNormalizationState& state) override;

 private:
  void follow(CommandBuffer& commandBuffer, TrainedTensor& tensor, Vector& running, const Vector& batch);

  ScaleAndShift parameters_;
  TrainedTensor runningMean_, runningVariance_;
  Vector mean_, variance_;  // the running ones on the device; nil until a batch has been seen
  NNOptimizerStochasticGradientDescent average_;
};

/// Adds up vectors of gradients that a batch has one of for each image.
class GradientSum {
 public:
  GradientSum(const Device& device, std::size_t elements, const std::string& label);
  void begin() { isEmpty_ = true; }
  void add(CommandBuffer& commandBuffer, const Vector& gradient);
  const Vector& sum() const { return sum_; }

 private:
  Vector zeros_, sum_;
  bool isEmpty_ = true;
  NNOptimizerStochasticGradientDescent add_;
};

/// Parameters of an instance or a group normalization.
template <class DataSource, class StateBatchType>
class ImageNormalizationSource : public DataSource, public LayerSource {
 public:
  ImageNormalizationSource(const TrainingContext& context, const Layer& layer)
      : parameters_(context, layer),
        gammaGradient_(context.device, layer.shape.channels, layer.name + ".gamma"),
        betaGradient_(context.device, layer.shape.channels, layer.name + ".beta") {}

  std::vector<TrainedTensor*> tensors() override { return {&parameters_.gamma, &parameters_.beta}; }

  std::size_t numberOfFeatureChannels() const override { return parameters_.gamma.elements(); }
  std::string label() const override { return parameters_.label; }
  std::span<const float> gamma() override { return parameters_.gamma.values(); }
  std::span<const float> beta() override { return parameters_.beta.values(); }
  float epsilon() const override { return parameters_.epsilon; }
  bool load() override {
    parameters_.gamma.read();
    parameters_.beta.read();
    return true;
  }
  using DataSource::updateGammaAndBeta;
  CNNNormalizationGammaAndBetaState updateGammaAndBeta(CommandBuffer& commandBuffer,
                                                       const StateBatchType& states) override {
    gammaGradient_.begin();
    betaGradient_.begin();
    for (const auto& state : states) {
      gammaGradient_.add(commandBuffer, state.gradientForGamma());
      betaGradient_.add(commandBuffer, state.gradientForBeta());
    }
    return parameters_.update(commandBuffer, gammaGradient_.sum(), betaGradient_.sum(), states.front().gamma(),
                              states.front().beta());
  }

 private:
  ScaleAndShift parameters_;
  GradientSum gammaGradient_, betaGradient_;
};

using InstanceNormalizationSource =
    ImageNormalizationSource<CNNInstanceNormalizationDataSource, CNNInstanceNormalizationGradientStateBatch>;

class GroupNormalizationSource final
    : public ImageNormalizationSource<CNNGroupNormalizationDataSource, CNNGroupNormalizationGradientStateBatch> {
 public:
  GroupNormalizationSource(const TrainingContext& context, const Layer& layer)
      : ImageNormalizationSource(context, layer), groups_(layer.groups) {}
  std::size_t numberOfGroups() const override { return groups_; }
  void setNumberOfGroups(std::size_t numberOfGroups) override { groups_ = numberOfGroups; }

 private:
  std::size_t groups_;
};

}  // namespace metalloid::training
