#pragma once

#include <metalloid/cnn_convolution.hpp>

#include <memory>
#include <optional>

namespace metalloid {

/// A convolution whose window is the source: one result pixel, of which every channel depends on all of the source.
///
///     destination[k] = f(b[k] + sum over y, x, c of w[k][y][x][c] * source[y][x][c])
///
/// kernelWidth and kernelHeight are the source's size; strides, dilation rates and groups are 1. `offset` and `padding`
/// are ignored (the padding's default is valid only); in a destination larger than one pixel the clip rectangle says
/// which. Source: MPSCNNFullyConnected.
class CNNFullyConnected : public CNNConvolution {
 public:
  /// @throws Error (invalidArgument) as `CNNConvolution`, and for strides, dilation rates, groups or sub-pixels.
  CNNFullyConnected(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNFullyConnected(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others, and may have another neuron.
  CNNFullyConnected(const Device& device, const detail::ConvolutionWeights& weights,
                    const std::optional<NNNeuronDescriptor>& neuron = {});

  /// A copy with every setting and weights of its own, for `device` or, when that is nil, for the same device.
  CNNFullyConnected copy(const Device& device = {}) const;

  /// What the kernel reads of a source.
  detail::SourceSettings sourceSettings(std::size_t source) const override;

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  bool hasWindow() const override { return false; }
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNFullyConnected`:
///
///     result[y][x][c]                = sum over k of E[k] * w[k][y][x][c]
///     gradientForWeights[k][y][x][c] = sum over n of E_n[k] * source_n[y][x][c]
///     gradientForBiases[k]           = sum over n of E_n[k]
///
/// Offsets are ignored. Source: MPSCNNFullyConnectedGradient.
class CNNFullyConnectedGradient : public CNNConvolutionGradient {
 public:
  /// @throws Error (invalidArgument) as `CNNConvolutionGradient`, and for strides, dilation rates and groups.
  CNNFullyConnectedGradient(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNFullyConnectedGradient(Unarchiver& coder, const Device& device);
  /// For the library's own use: a kernel that shares weights with others.
  CNNFullyConnectedGradient(const Device& device, const detail::ConvolutionWeights& weights);

  /// A copy with every setting and weights of its own, for `device` or, when that is nil, for the same device.
  CNNFullyConnectedGradient copy(const Device& device = {}) const;

 protected:
  bool windowIsSource() const override { return true; }

 private:
  friend class Kernel;
};

}  // namespace metalloid
