#pragma once

#include <metalloid/geometry.hpp>
#include <metalloid/image.hpp>
#include <metalloid/state.hpp>

#include <cstddef>
#include <vector>

namespace metalloid {

/// Labels or weights for one image in host memory. Source: MPSCNNLossDataDescriptor.
struct CNNLossDataDescriptor {
  std::vector<float> data;                                       ///< The numbers.
  DataLayout layout = DataLayout::HeightxWidthxFeatureChannels;  ///< Their order.
  Size size;                                                     ///< Width, height, feature channels.
  std::size_t bytesPerRow = 0;    ///< From row to row; 0: dense, width (x channels, in HWC) numbers.
  std::size_t bytesPerImage = 0;  ///< Of all rows; in CHW from channel to channel. 0: dense, height * bytesPerRow.

  friend bool operator==(const CNNLossDataDescriptor&, const CNNLossDataDescriptor&) = default;
};

/// What the predictions of one image are compared with: labels, optional weights of their elements, and the image that
/// a loss kernel writes its value to. Source: MPSCNNLossLabels.
class CNNLossLabels : public State {
 public:
  CNNLossLabels() = default;  ///< Nil.

  /// Copies the labels. The loss is one number: a loss image of 1 x 1 x 1. @throws as below.
  CNNLossLabels(const Device& device, const CNNLossDataDescriptor& labelsDescriptor);

  /// For labels, and weights, in host memory.
  struct DataArguments {
    Size lossImageSize = {1, 1, 1};                ///< 1 x 1 x 1, or the labels' size for a loss of each element.
    CNNLossDataDescriptor labelsDescriptor;        ///< Copied.
    CNNLossDataDescriptor weightsDescriptor = {};  ///< Copied; without data: every weight is 1.
  };
  /// Copies the data into float32 images. @throws Error (invalidArgument) for a nil device, sizes of 0, too few
  /// numbers, strides that are too short or no multiple of 4, weights of another size than the labels, and another loss
  /// image's size than the two.
  CNNLossLabels(const Device& device, const DataArguments& arguments);

  /// For labels, and weights, in images.
  struct ImageArguments {
    Size lossImageSize = {1, 1, 1};  ///< As above.
    Image labelsImage;               ///< Kept, not copied: read when the loss kernel is executed.
    Image weightsImage = {};         ///< Kept, not copied; nil: every weight is 1.
  };
  /// Keeps the images. @throws Error (invalidArgument) for nil and temporary images, images of other devices,
  /// containers of several images, and sizes as above.
  CNNLossLabels(const Device& device, const ImageArguments& arguments);

  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNLossLabels(const State& state);

  /// The loss, float32, once a loss kernel with these labels has been executed.
  Image lossImage() const;
  Image labelsImage() const;   ///< The labels.
  Image weightsImage() const;  ///< The weights; nil without.
};

/// One for each image of a batch; where states are wanted, it is a batch of those too. Source: MPSCNNLossLabelsBatch.
class CNNLossLabelsBatch : public std::vector<CNNLossLabels> {
 public:
  using vector::vector;
  /// As states.
  operator StateBatch() const { return {begin(), end()}; }  // NOLINT(google-explicit-constructor)
};

}  // namespace metalloid
