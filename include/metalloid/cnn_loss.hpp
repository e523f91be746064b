#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_loss_labels.hpp>
#include <metalloid/cnn_loss_type.hpp>

#include <cstddef>

namespace metalloid {

/// A loss and its parameters. Source: MPSCNNLossDescriptor.
///
/// The label t that the formulas see is label * (1 - s) + s / K for soft-max cross entropy, K = numberOfClasses, and
/// label * (1 - s) + s / 2 for sigmoid cross entropy, s = labelSmoothing where it is greater than 0.
struct CNNLossDescriptor {
  CNNLossType lossType = CNNLossType::meanAbsoluteError;   ///< The formula; see `CNNLossType`.
  CNNReductionType reductionType = CNNReductionType::sum;  ///< Default sum, the only one for cosine distance.
  bool reduceAcrossBatch = false;   ///< One loss for all images, in the first loss image; the others become 0.
  float weight = 1;                 ///< Multiplies every loss and every gradient; 1/batch gives the mean over a batch.
  float labelSmoothing = 0;         ///< For soft-max and sigmoid cross entropy.
  std::size_t numberOfClasses = 1;  ///< Shares of the smoothing in soft-max cross entropy: the number of channels.
  float epsilon = 1e-7F;            ///< For the log loss.
  float delta = 1;                  ///< For the Huber loss.

  /// Type and reduction, the rest by default.
  static CNNLossDescriptor cnnLossDescriptor(CNNLossType lossType, CNNReductionType reductionType) {
    return {.lossType = lossType, .reductionType = reductionType};
  }

  friend bool operator==(const CNNLossDescriptor&, const CNNLossDescriptor&) = default;
};

/// A loss and its gradient for the predictions in one pass. Source: MPSCNNLoss.
///
/// The destination receives the gradient w * dl/dy of each element, w = weight * (the weights image's element, or 1),
/// whatever the reduction: there is no division by the number of elements or images. The labels' loss image receives
/// the loss of each image:
/// - none: w * l of each element;
/// - sum: their sum;
/// - mean: the sum / (width * height * channels); soft-max cross entropy: / (width * height);
/// - sumByNonZeroWeights: the sum / (number of elements of the weights image that are not 0); without one, of elements.
///   A count of 0 gives 0.
/// The cosine distance is weight * (1 - sum of y*t) over an image; element weights act on its gradient only. Across a
/// batch the divisors, too, are sums over the batch.
///
/// Predictions: the region that offset and channel offsets say. Labels and weights have its size. Loss images: the same
/// size for a reduction of none, else 1 x 1 x 1.
class CNNLoss : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, unknown types and reductions, cosine distance with another
  /// reduction than sum, numberOfClasses of 0, and an epsilon or a delta below 0 or NaN.
  CNNLoss(const Device& device, const CNNLossDescriptor& lossDescriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNLoss(Unarchiver& coder, const Device& device);

  CNNLossType lossType() const { return descriptor_.lossType; }                 ///< The formula.
  CNNReductionType reductionType() const { return descriptor_.reductionType; }  ///< Of the losses of an image.
  bool reduceAcrossBatch() const { return descriptor_.reduceAcrossBatch; }      ///< And over the batch.
  float weight() const { return descriptor_.weight; }                           ///< Multiplies everything.
  float labelSmoothing() const { return descriptor_.labelSmoothing; }           ///< See the descriptor.
  std::size_t numberOfClasses() const { return descriptor_.numberOfClasses; }   ///< See the descriptor.
  float epsilon() const { return descriptor_.epsilon; }                         ///< See the descriptor.
  float delta() const { return descriptor_.delta; }                             ///< See the descriptor.

  /// The operands for one image.
  struct Arguments {
    Image sourceImage;            ///< The predictions.
    CNNLossLabels labels;         ///< What they are compared with; receives the loss.
    Image destinationImage = {};  ///< Receives the gradient. Nil: the kernel makes it.
  };
  /// The operands for a batch.
  struct BatchArguments {
    ImageBatch sourceImages;            ///< The predictions.
    CNNLossLabelsBatch labels;          ///< One for each image, each another.
    ImageBatch destinationImages = {};  ///< Receive the gradients. Empty: the kernel makes them.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);
  /// The same for every image of a batch.
  ImageBatch encode(CommandBuffer& commandBuffer, const BatchArguments& arguments);
  /// The same under its other name.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
    return encode(commandBuffer, arguments);
  }

  /// The labels receive the loss.
  bool isStateModified() const override { return true; }

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNLoss copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  CNNLossDescriptor descriptor_;
};

}  // namespace metalloid
