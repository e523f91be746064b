#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_loss.hpp>

#include <cstddef>

namespace metalloid {

/// The value of a loss, with labels and weights in images. Formulas and reductions: `CNNLoss`. Source:
/// MPSNNForwardLoss.
///
/// Whole images: offset, clipRect and channel offsets must keep their defaults.
class NNForwardLoss : public CNNKernel {
 public:
  /// @throws as `CNNLoss`.
  NNForwardLoss(const Device& device, const CNNLossDescriptor& lossDescriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNForwardLoss(Unarchiver& coder, const Device& device);

  float weight;          ///< As in the descriptor. Each encode checks these four as the constructor does.
  float labelSmoothing;  ///< As in the descriptor.
  float epsilon;         ///< As in the descriptor.
  float delta;           ///< As in the descriptor.

  CNNLossType lossType() const { return descriptor_.lossType; }                 ///< The formula.
  CNNReductionType reductionType() const { return descriptor_.reductionType; }  ///< Of the losses of an image.
  bool reduceAcrossBatch() const { return descriptor_.reduceAcrossBatch; }      ///< And over the batch.
  std::size_t numberOfClasses() const { return descriptor_.numberOfClasses; }   ///< See the descriptor.

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;  ///< The predictions.
    ImageBatch labels;        ///< Of their size.
    ImageBatch weights = {};  ///< Of their size; empty: every weight is 1.
    detail::DestinationStates destinationStates =
        {};                                    ///< Carry weight, labelSmoothing, epsilon, delta to the gradient.
    bool destinationStateIsTemporary = false;  ///< Accepted: these states hold no storage.
    ImageBatch destinationImages = {};  ///< The losses: of the source's size for a reduction of none, else 1 x 1 x 1.
                                        ///< Empty: the kernel makes them.
  };
  using Kernel::encode;
  /// Records the kernel for every image and returns the destinations. @throws Error (invalidArgument) naming what does
  /// not fit.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNForwardLoss copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  CNNLossDescriptor settings() const;
  CNNLossDescriptor descriptor_;  // the part that does not change
};

/// The gradient of `NNForwardLoss`: g * w * dl/dy, or dl/d(label), for each element. g is the gradient for the loss, of
/// the element or, from an image of 1 x 1 x 1, of the whole image; w as in `CNNLoss`. Source: MPSNNLossGradient.
///
/// As documented, no factor of the reduction enters; see `appliesReduction`. The label is the one before smoothing.
class NNLossGradient : public CNNBinaryKernel {
 public:
  /// @throws as `CNNLoss`.
  NNLossGradient(const Device& device, const CNNLossDescriptor& lossDescriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNLossGradient(Unarchiver& coder, const Device& device);

  float weight;                        ///< As in the descriptor. A source state's value goes before these four.
  float labelSmoothing;                ///< As in the descriptor.
  float epsilon;                       ///< As in the descriptor.
  float delta;                         ///< As in the descriptor.
  bool computeLabelGradients = false;  ///< For the labels instead of the predictions.
  /// Metalloid extension: divide by what the reduction divides the loss by, which makes this the derivative of
  /// `NNForwardLoss` for the reductions mean and sumByNonZeroWeights too.
  bool appliesReduction = false;

  CNNLossType lossType() const { return descriptor_.lossType; }                 ///< The formula.
  CNNReductionType reductionType() const { return descriptor_.reductionType; }  ///< Of the losses of an image.
  bool reduceAcrossBatch() const { return descriptor_.reduceAcrossBatch; }      ///< And over the batch.
  std::size_t numberOfClasses() const { return descriptor_.numberOfClasses; }   ///< See the descriptor.

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceGradients;            ///< For the losses: 1 x 1 x 1, or of the predictions' size.
    ImageBatch sourceImages;               ///< The predictions.
    ImageBatch labels;                     ///< Of their size.
    ImageBatch weights = {};               ///< Of their size; empty: every weight is 1.
    StateBatch sourceStates = {};          ///< What the forward encode left.
    ImageBatch destinationGradients = {};  ///< Of the predictions' size. Empty: the kernel makes them.
  };
  using Kernel::encode;
  /// Records the kernel for every image and returns the destinations. @throws Error (invalidArgument) naming what does
  /// not fit.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// What an encode that makes its destination would make. `sourceImages` holds gradient, predictions and labels.
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates = {}) {
    return sizeDestination(sourceImages, sourceStates);
  }

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNLossGradient copy(const Device& device = {}) const;

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  CNNLossDescriptor settings() const;
  CNNLossDescriptor descriptor_;  // the part that does not change
};

/// The gradient of a value for itself: 1 for every element of the source. Source: MPSNNInitialGradient.
class NNInitialGradient : public CNNKernel {
 public:
  /// A kernel for a device.
  explicit NNInitialGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNInitialGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNInitialGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
