#pragma once

#include <metalloid/cnn_convolution.hpp>

#include <cstddef>
#include <memory>
#include <optional>

namespace metalloid {

/// A transposed convolution: the source, enlarged by zeros between its pixels, goes through a convolution of stride 1.
/// With s the strides, d the dilation rates and K the dilated size of the window,
///
///     destination[j][i][k] = f(b[k] + sum over q, p, c < Cg of w[k][q][p][c] * source[y / s][x / s][g(k) * Cg + c])
///     y = offset.y * s + kernelOffsetY + j - K / 2 + d * q,  x alike
///
/// where only y and x count that s divides and that fall into the source. Weights are [output channel][row][column]
/// [input channel of the group] in the channels of this kernel, and not rotated: a framework that takes the transpose
/// for the adjoint of a convolution turns them by 180 degrees first. Clamp mode is for strides of 1.
///
/// Given the state of a forward convolution, the destination gets the size of that one's source, and the kernel offset
/// undoes its offset. Without, `padding` sizes it: (n - 1) * s + 1 pixels for same; K - 1 more for full and fewer for
/// valid only, for which the kernel offset is set so that no pixel of the source is lost, or none is made up.
/// Source: MPSCNNConvolutionTranspose.
class CNNConvolutionTranspose : public CNNKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) as `CNNConvolution`, and for sub-pixels.
  CNNConvolutionTranspose(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNConvolutionTranspose(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others, and may have another neuron.
  CNNConvolutionTranspose(const Device& device, const detail::ConvolutionWeights& weights,
                          const std::optional<NNNeuronDescriptor>& neuron = {});

  std::ptrdiff_t kernelOffsetX = 0;  ///< Where the window's centre begins in the enlarged source. Default 0.
  std::ptrdiff_t kernelOffsetY = 0;  ///< As above.
  /// No device makes use of the permission to sum in float16. Default float_.
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption = NNConvolutionAccumulatorPrecisionOption::float_;

  std::size_t inputFeatureChannels() const { return descriptor().inputFeatureChannels; }    ///< Channels read.
  std::size_t outputFeatureChannels() const { return descriptor().outputFeatureChannels; }  ///< Channels computed.
  std::size_t groups() const { return descriptor().groups; }                                ///< Groups of channels.
  NNNeuronDescriptor fusedNeuronDescriptor() const { return neuron_.descriptor(); }         ///< f.
  /// What the kernel was made with.
  const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const { return weights_.dataSource(); }
  /// Metalloid extension: the shape.
  const CNNConvolutionDescriptor& descriptor() const { return weights_.descriptor(); }

  /// The operands of `encode`.
  struct Arguments {
    Image sourceImage;                                          ///< What is read.
    CNNConvolutionGradientState convolutionGradientState = {};  ///< Of the forward convolution that this undoes.
    detail::DestinationState destinationState = {};  ///< A state to fill, or where to put the one to be made.
    bool destinationStateIsTemporary = false;        ///< Of a state to be made.
    Image destinationImage = {};                     ///< Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;                                          ///< What is read.
    CNNConvolutionGradientStateBatch convolutionGradientStates = {};  ///< Of the forward convolution.
    detail::DestinationStates destinationStates = {};  ///< States to fill, or where to put those to be made.
    bool destinationStateIsTemporary = false;          ///< Of states to be made.
    ImageBatch destinationImages = {};                 ///< Empty: the kernel makes them.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  void reloadWeightsAndBiasesFromDataSource();  ///< As `CNNConvolution`'s.
  /// As `CNNConvolution`'s.
  void reloadWeightsAndBiases(CommandBuffer& commandBuffer, const CNNConvolutionWeightsAndBiasesState& state);
  /// As `CNNConvolution`'s.
  CNNConvolutionWeightsAndBiasesState exportWeightsAndBiases(CommandBuffer& commandBuffer,
                                                             bool resultStateCanBeTemporary) const;

  /// Whether it is a gradient or transposed.
  bool isBackwards() const override { return true; }
  /// One gradient state serves a batch.
  bool isResultStateReusedAcrossBatch() const override { return true; }

  /// A copy with every setting and weights of its own, for `device` or, when that is nil, for the same device.
  CNNConvolutionTranspose copy(const Device& device = {}) const;

  /// For the library's own use.
  const detail::ConvolutionWeights& sharedWeights() const { return weights_; }

 protected:
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
  void configure(const State& convolutionGradientState);

  detail::ConvolutionWeights weights_;
  detail::NeuronSettings neuron_;
};

/// The gradient of `CNNConvolutionTranspose` before its neuron: with y(j, q), x(i, p) the source pixels that the
/// forward kernel read, the sums are those of `CNNConvolutionGradient`.
///
/// An encode that makes its destination takes its geometry from the state of the transposed convolution, and so does
/// one whose kernel has all its offsets, clip rectangle and channel offsets at their defaults. Otherwise
/// `secondaryOffset` and the kernel offset are the `offset` and the kernel offset of the forward kernel.
/// Source: MPSCNNConvolutionTransposeGradient.
class CNNConvolutionTransposeGradient : public CNNGradientKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) as `CNNConvolutionGradient`.
  CNNConvolutionTransposeGradient(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNConvolutionTransposeGradient(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others.
  CNNConvolutionTransposeGradient(const Device& device, const detail::ConvolutionWeights& weights);

  /// What is computed. Without data the destination is not written. Default all.
  CNNConvolutionGradientOption gradientOption = CNNConvolutionGradientOption::all;

  std::size_t sourceGradientFeatureChannels() const { return descriptor().outputFeatureChannels; }  ///< Of E.
  std::size_t sourceImageFeatureChannels() const { return descriptor().inputFeatureChannels; }      ///< Of the source.
  std::size_t groups() const { return descriptor().groups; }  ///< Groups of channels.
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
  CNNConvolutionTransposeGradient copy(const Device& device = {}) const;

  /// For the library's own use.
  const detail::ConvolutionWeights& sharedWeights() const { return weights_; }

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void configure(const State& gradientState) override;
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
