#pragma once

#include <metalloid/cnn_batch_normalization_state.hpp>
#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_neuron.hpp>
#include <metalloid/detail/neuron_settings.hpp>

#include <cstddef>
#include <memory>

namespace metalloid {

/// Normalizes each channel, scales and shifts it, and applies a neuron function f:
///
///     y = f(gamma[c] * (x - mean[c]) / sqrt(variance[c] + epsilon) + beta[c])
///
/// Without a state mean and variance are the data source's (inference). With one they are those that
/// `CNNBatchNormalizationStatistics` gathered in it; before it has gathered any, again the data source's. Size and
/// channels stay; the channels read must be those of the data source. The order of a training step: Statistics for the
/// whole batch, this kernel, ..., StatisticsGradient for the whole batch, Gradient, updates. Source:
/// MPSCNNBatchNormalization.
///
/// Copies by assignment share the parameters on the device: what one reloads, all have. `copy` gives others of its own.
class CNNBatchNormalization : public CNNKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) for a nil device or data source, for 0 channels, for spans
  /// of another length, for neurons as `CNNNeuron`, and when `load` fails.
  CNNBatchNormalization(const Device& device, std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
                        const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  /// The next kernel of an archive, which has the parameters themselves; its data source gives those and updates
  /// nothing. @throws Error (malformedFile) when it is another class or not allowed.
  CNNBatchNormalization(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares parameters with another, and has a neuron of its own.
  CNNBatchNormalization(const CNNBatchNormalization& other, const NNNeuronDescriptor& fusedNeuronDescriptor);

  float epsilon;  ///< Added to the variance. Default the data source's.

  /// C, the number of channels.
  std::size_t numberOfFeatureChannels() const;
  /// Where the parameters are from.
  const std::shared_ptr<CNNBatchNormalizationDataSource>& dataSource() const { return dataSource_; }
  /// Metalloid extension: f.
  NNNeuronDescriptor fusedNeuronDescriptor() const { return neuron_.descriptor(); }

  /// The operands of `encode`.
  struct Arguments {
    Image sourceImage;                                        ///< x.
    CNNBatchNormalizationState batchNormalizationState = {};  ///< Nil: the data source's statistics.
    Image destinationImage = {};                              ///< y. Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;                                  ///< x.
    CNNBatchNormalizationState batchNormalizationState = {};  ///< Nil: the data source's statistics.
    ImageBatch destinationImages = {};                        ///< y. Empty: the kernel makes them.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// The state of a batch, one for all of its images.
  CNNBatchNormalizationState resultState(const StateArguments& arguments);
  /// The same, living within the command buffer.
  CNNBatchNormalizationState temporaryResultState(CommandBuffer& commandBuffer, const StateArguments& arguments);

  /// Reads gamma and beta from the data source again. Waits for committed work on them; work that is recorded but not
  /// committed will see the new values. @throws as the constructor.
  void reloadGammaAndBetaFromDataSource();
  /// The same of mean and variance.
  void reloadMeanAndVarianceFromDataSource();
  /// Records a copy of the state's values, and none where the state has the kernel's own vectors. A temporary state's
  /// read count is lowered. @throws Error (invalidArgument) for a nil state or one of fewer channels.
  void reloadGammaAndBeta(CommandBuffer& commandBuffer, const CNNNormalizationGammaAndBetaState& gammaAndBetaState);
  /// The same of mean and variance.
  void reloadMeanAndVariance(CommandBuffer& commandBuffer,
                             const CNNNormalizationMeanAndVarianceState& meanAndVarianceState);
  /// Another data source of as many channels, of which everything is read. Deprecated by Apple. @throws as the
  /// constructor; the kernel then keeps the former.
  void reloadDataSource(std::shared_ptr<CNNBatchNormalizationDataSource> dataSource);

  /// A copy with every setting and parameters of its own, for `device` or, when that is nil, for the same device.
  CNNBatchNormalization copy(const Device& device = {}) const;

  /// Whether one state serves the whole batch.
  bool isResultStateReusedAcrossBatch() const override { return true; }

  // For the library's own use.
  const std::shared_ptr<detail::NormalizationParameters>& parameters() const { return parameters_; }
  const detail::NeuronSettings& neuron() const { return neuron_; }

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  std::shared_ptr<CNNBatchNormalizationDataSource> dataSource_;
  std::shared_ptr<detail::NormalizationParameters> parameters_;
  detail::NeuronSettings neuron_;
};

/// Gathers mean and biased variance of each channel over all pixels of a batch in a state. Every encode adds its images
/// to what the state has since its making or its last `reset`. Source: MPSCNNBatchNormalizationStatistics.
///
/// The region read is clipRect.size from `offset` on, as far as there are pixels; the channels must be the state's.
class CNNBatchNormalizationStatistics : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNBatchNormalizationStatistics(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNBatchNormalizationStatistics(Unarchiver& coder, const Device& device);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;                             ///< x.
    CNNBatchNormalizationState batchNormalizationState;  ///< Where the statistics go.
  };
  using Kernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming what does not fit.
  void encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNBatchNormalizationStatistics copy(const Device& device = {}) const;

  /// Whether an encode changes the state that it reads.
  bool isStateModified() const override { return true; }
  /// Whether the whole batch must be there first.
  bool appendBatchBarrier() const override { return true; }

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

/// The gradients for scale and shift. With r = 1 / sqrt(variance + epsilon), xh = (x - mean) * r and
/// g = gradient * f'(gamma * xh + beta), over all pixels of a batch:
///
///     gradientForGamma[c] = sum of g * xh
///     gradientForBeta[c]  = sum of g
///
/// Every encode adds its images to what the state has since its making or its last `reset`. epsilon is that of the
/// state's kernel. The regions are those of the forward kernel, which the state remembers. Source:
/// MPSCNNBatchNormalizationStatisticsGradient.
class CNNBatchNormalizationStatisticsGradient : public CNNGradientKernel {
 public:
  /// The neuron must be the forward kernel's. @throws as `CNNNeuron`.
  explicit CNNBatchNormalizationStatisticsGradient(const Device& device,
                                                   const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNBatchNormalizationStatisticsGradient(Unarchiver& coder, const Device& device);

  /// Metalloid extension: f.
  NNNeuronDescriptor fusedNeuronDescriptor() const { return neuron_.descriptor(); }

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceGradients;                          ///< The gradients for the forward results.
    ImageBatch sourceImages;                             ///< x.
    CNNBatchNormalizationState batchNormalizationState;  ///< What the forward kernels left.
  };
  using Kernel::encode;
  /// Records the kernel. A temporary state's read count is lowered. @throws Error (invalidArgument) naming what does
  /// not fit.
  void encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNBatchNormalizationStatisticsGradient copy(const Device& device = {}) const;

  /// Whether an encode changes the state that it reads.
  bool isStateModified() const override { return true; }
  /// Whether the whole batch must be there first.
  bool appendBatchBarrier() const override { return true; }

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

/// The gradient for the forward source, with the names of `CNNBatchNormalizationStatisticsGradient` and M the number of
/// pixels of the statistics:
///
///     dx = gamma[c] * r * (g - gradientForBeta[c] / M - xh * gradientForGamma[c] / M)    statistics of the batch
///     dx = gamma[c] * r * g                                                              those of the data source
///
/// The first when a `CNNBatchNormalizationStatistics` was encoded since the making of the state or its last `reset`; it
/// needs the gradients of the whole batch first. Source: MPSCNNBatchNormalizationGradient.
class CNNBatchNormalizationGradient : public CNNGradientKernel {
 public:
  /// The neuron must be the forward kernel's. @throws as `CNNNeuron`.
  explicit CNNBatchNormalizationGradient(const Device& device, const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNBatchNormalizationGradient(Unarchiver& coder, const Device& device);

  /// Metalloid extension: f.
  NNNeuronDescriptor fusedNeuronDescriptor() const { return neuron_.descriptor(); }

  /// The operands of `encode`.
  struct Arguments {
    Image sourceGradient;                                ///< The gradient for the forward result.
    Image sourceImage;                                   ///< x.
    CNNBatchNormalizationState batchNormalizationState;  ///< What the forward kernels left.
    Image destinationGradient = {};                      ///< dx. Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. A temporary state's read count is lowered. @throws Error
  /// (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceGradients;                          ///< The gradients for the forward results.
    ImageBatch sourceImages;                             ///< x.
    CNNBatchNormalizationState batchNormalizationState;  ///< What the forward kernels left.
    ImageBatch destinationGradients = {};                ///< dx. Empty: the kernel makes them.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNBatchNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

}  // namespace metalloid
