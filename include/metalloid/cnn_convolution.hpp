#pragma once

#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/cnn_kernel.hpp>
#include <metalloid/detail/convolution_weights.hpp>
#include <metalloid/detail/neuron_settings.hpp>

#include <cstddef>
#include <memory>
#include <optional>

namespace metalloid {

/// A convolution: with K the dilated size of the window, s the strides, d the dilation rates, g(k) the group of output
/// channel k and Cg the input channels of a group,
///
///     destination[j][i][k] = f(b[k] + sum over rows q, columns p, c < Cg of w[k][q][p][c] * in(y, x, g(k) * Cg + c))
///     y = offset.y + s * j - K / 2 + d * q,  x = offset.x + s * i - K / 2 + d * p
///
/// Weights are applied as they are given, not rotated. Outside the source stands what the edge mode says: zero, or the
/// nearest pixel. Sums are kept in float32 or better, weights in float32. f is the descriptor's neuron.
///
/// A kernel has its weights on the device; copies made by assignment share them, `copy` gives others of its own.
/// Source: MPSCNNConvolution.
class CNNConvolution : public CNNKernel {
 public:
  /// Reads the data source, whose label becomes the kernel's. @throws Error (invalidArgument) for a nil device or data
  /// source, a load that fails, a descriptor without a meaning, and weights or biases of another number.
  CNNConvolution(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive, with the weights that were in use; its data source gives these.
  /// @throws Error (malformedFile) when it is another class or not allowed.
  CNNConvolution(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others, and may have another neuron.
  CNNConvolution(const Device& device, const detail::ConvolutionWeights& weights,
                 const std::optional<NNNeuronDescriptor>& neuron = {});

  /// No device makes use of the permission to sum in float16. Default float_.
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption = NNConvolutionAccumulatorPrecisionOption::float_;

  std::size_t inputFeatureChannels() const { return descriptor().inputFeatureChannels; }    ///< Channels read.
  std::size_t outputFeatureChannels() const { return descriptor().outputFeatureChannels; }  ///< Channels computed.
  std::size_t groups() const { return descriptor().groups; }                                ///< Groups of channels.
  std::size_t subPixelScaleFactor() const { return descriptor().subPixelScaleFactor; }      ///< 1 for most.
  std::size_t channelMultiplier() const { return descriptor().channelMultiplier(); }        ///< 0 unless depth-wise.
  NNNeuronDescriptor fusedNeuronDescriptor() const { return neuron_.descriptor(); }         ///< f.
  /// What the kernel was made with.
  const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const { return weights_.dataSource(); }
  /// Metalloid extension: the shape.
  const CNNConvolutionDescriptor& descriptor() const { return weights_.descriptor(); }

  /// Reads weights and biases again, at once. @throws as the constructor, and when the shape has changed.
  void reloadWeightsAndBiasesFromDataSource();
  /// Records that weights and biases become those of the state; a state without biases leaves them. Records nothing for
  /// a state of the very weights in use. Counts as a read of a temporary state. @throws Error (invalidArgument) for
  /// another number of weights or biases.
  void reloadWeightsAndBiases(CommandBuffer& commandBuffer, const CNNConvolutionWeightsAndBiasesState& state);
  /// Records a copy of weights and biases in use, batch normalization folded in. Biases are nil when the kernel has
  /// none.
  CNNConvolutionWeightsAndBiasesState exportWeightsAndBiases(CommandBuffer& commandBuffer,
                                                             bool resultStateCanBeTemporary) const;

  /// One gradient state serves a batch.
  bool isResultStateReusedAcrossBatch() const override { return true; }

  /// A copy with every setting and weights of its own, for `device` or, when that is nil, for the same device. For
  /// another device the data source's copy goes with it.
  CNNConvolution copy(const Device& device = {}) const;

  /// For the library's own use.
  const detail::ConvolutionWeights& sharedWeights() const { return weights_; }

 protected:
  CNNConvolution(const Device& device, std::string_view className, const detail::ConvolutionWeights& weights,
                 const std::optional<NNNeuronDescriptor>& neuron);
  CNNConvolution(Unarchiver& coder, const Device& device, std::string_view className);

  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  bool hasWindow() const override { return true; }
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  void takeShape();

  detail::ConvolutionWeights weights_;
  detail::NeuronSettings neuron_;
};

/// The gradient of `CNNConvolution` before its neuron, for source, weights and biases: E being the gradient for the
/// forward result, and x(i, p), y(j, q) the source pixels that the forward kernel read,
///
///     result[v][u][g * Cg + c] = sum over k in group g, and j, i, q, p with y(j, q) = v, x(i, p) = u, of
///                                w[k][q][p][c] * E[j][i][k]
///     gradientForWeights[k][q][p][c] = sum over n, j, i of E_n[j][i][k] * in_n(y(j, q), x(i, p), g(k) * Cg + c)
///     gradientForBiases[k]           = sum over n, j, i of E_n[j][i][k]
///
/// In clamp mode taps that read the edge give their gradient to it. The gradients for weights and biases go to the
/// forward kernel's state. A descriptor with a neuron, batch normalization or sub-pixels has no gradient.
///
/// An encode that makes its destination takes its geometry from the state, and so does one whose kernel has all its
/// offsets, clip rectangle and channel offsets at their defaults. Otherwise, for a forward `offset` and a window of K
/// pixels: kernelOffsetX = -offset.x + (K even ? 1 : 0), plus the first source pixel wanted; primaryOffset.x is where
/// the forward result begins in the gradient, which is 0 elsewhere; secondaryOffset.x = offset.x - K / 2; y alike.
/// Given the state, a gradient of the size of the forward destination counts only where the forward kernel wrote.
/// Source: MPSCNNConvolutionGradient.
class CNNConvolutionGradient : public CNNGradientKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) as `CNNConvolution`, and for a descriptor without a
  /// gradient.
  CNNConvolutionGradient(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNConvolutionGradient(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others.
  CNNConvolutionGradient(const Device& device, const detail::ConvolutionWeights& weights);

  /// What is computed. Without data the destination is not written. Default all.
  CNNConvolutionGradientOption gradientOption = CNNConvolutionGradientOption::all;
  /// Has no effect, as with Apple.
  bool serializeWeightsAndBiases = false;

  std::size_t sourceGradientFeatureChannels() const { return descriptor().outputFeatureChannels; }  ///< Of E.
  std::size_t sourceImageFeatureChannels() const { return descriptor().inputFeatureChannels; }      ///< Of the source.
  std::size_t groups() const { return descriptor().groups; }                          ///< Groups of channels.
  std::size_t channelMultiplier() const { return descriptor().channelMultiplier(); }  ///< 0 unless depth-wise.
  /// What the kernel was made with.
  const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const { return weights_.dataSource(); }
  /// Metalloid extension: the shape.
  const CNNConvolutionDescriptor& descriptor() const { return weights_.descriptor(); }

  void reloadWeightsAndBiasesFromDataSource();  ///< As `CNNConvolution`'s.
  /// As `CNNConvolution`'s.
  void reloadWeightsAndBiases(CommandBuffer& commandBuffer, const CNNConvolutionWeightsAndBiasesState& state);

  /// Whether an encode changes the state that it reads.
  bool isStateModified() const override { return true; }

  /// A copy with every setting and weights of its own, for `device` or, when that is nil, for the same device.
  CNNConvolutionGradient copy(const Device& device = {}) const;

  /// For the library's own use.
  const detail::ConvolutionWeights& sharedWeights() const { return weights_; }

 protected:
  CNNConvolutionGradient(const Device& device, std::string_view className, const detail::ConvolutionWeights& weights);
  CNNConvolutionGradient(Unarchiver& coder, const Device& device, std::string_view className);

  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void configure(const State& gradientState) override;
  /// Whether the window is the source, wherever the offsets stand.
  virtual bool windowIsSource() const { return false; }
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  void takeShape();
  void recordConfigured(detail::Encoding& encoding, const detail::ImageOperands& operands) const;

  detail::ConvolutionWeights weights_;
};

}  // namespace metalloid
