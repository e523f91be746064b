#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstdint>
#include <string_view>

namespace metalloid {

namespace operations {
enum class ReduceAxis : std::uint8_t;
enum class ReduceType : std::uint8_t;
}  // namespace operations

/// One value of many along an axis of an image. Abstract. Source: MPSNNReduceUnary.
///
/// W x H pixels of C channels are read; a result that the kernel makes is
///
///     NNReduceRow…:             1 x H pixels of C channels, over x
///     NNReduceColumn…:          W x 1 pixels of C channels, over y
///     NNReduceFeatureChannels…: W x H pixels of 1 channel
///     NNReductionSpatialMean:   1 pixel of C channels, over x and y
///
/// Of a result that is given, no more than its clip rectangle is written. A NaN among the values makes the result NaN.
class NNReduceUnary : public CNNKernel {
 public:
  /// What of the source is read, as far as it is there; in place of `offset`, which has no effect. z: the first image.
  Region clipRectSource = regionNoClip;

 protected:
  /// For derived classes.
  NNReduceUnary(const Device& device, std::string_view className, operations::ReduceAxis axis,
                operations::ReduceType type);
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  /// What a sum is multiplied with.
  virtual float factor() const { return 1; }

 private:
  operations::ReduceAxis axis_;
  operations::ReduceType type_;
};

/// The smallest value of each row, for each channel. Source: MPSNNReduceRowMin.
class NNReduceRowMin : public NNReduceUnary {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNReduceRowMin(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNReduceRowMin(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNReduceRowMin copy(const Device& device = {}) const { return copyOf(*this, device); }
};

/// The largest value of each row, for each channel. Source: MPSNNReduceRowMax.
class NNReduceRowMax : public NNReduceUnary {
 public:
  explicit NNReduceRowMax(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceRowMax(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceRowMax copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The mean of each row, for each channel. Source: MPSNNReduceRowMean.
class NNReduceRowMean : public NNReduceUnary {
 public:
  explicit NNReduceRowMean(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceRowMean(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceRowMean copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The sum of each row, for each channel. Source: MPSNNReduceRowSum.
class NNReduceRowSum : public NNReduceUnary {
 public:
  explicit NNReduceRowSum(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceRowSum(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceRowSum copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The smallest value of each column, for each channel. Source: MPSNNReduceColumnMin.
class NNReduceColumnMin : public NNReduceUnary {
 public:
  explicit NNReduceColumnMin(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceColumnMin(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceColumnMin copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The largest value of each column, for each channel. Source: MPSNNReduceColumnMax.
class NNReduceColumnMax : public NNReduceUnary {
 public:
  explicit NNReduceColumnMax(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceColumnMax(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceColumnMax copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The mean of each column, for each channel. Source: MPSNNReduceColumnMean.
class NNReduceColumnMean : public NNReduceUnary {
 public:
  explicit NNReduceColumnMean(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceColumnMean(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceColumnMean copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The sum of each column, for each channel. Source: MPSNNReduceColumnSum.
class NNReduceColumnSum : public NNReduceUnary {
 public:
  explicit NNReduceColumnSum(const Device& device);                                          ///< As NNReduceRowMin.
  NNReduceColumnSum(Unarchiver& coder, const Device& device);                                ///< As NNReduceRowMin.
  NNReduceColumnSum copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As NNReduceRowMin.
};

/// The smallest value of each pixel's channels. Source: MPSNNReduceFeatureChannelsMin.
class NNReduceFeatureChannelsMin : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMin(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMin(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMin copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.
};

/// The largest value of each pixel's channels. Source: MPSNNReduceFeatureChannelsMax.
class NNReduceFeatureChannelsMax : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMax(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMax(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMax copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.
};

/// The mean of each pixel's channels. Source: MPSNNReduceFeatureChannelsMean.
class NNReduceFeatureChannelsMean : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMean(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMean(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsMean copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.
};

/// The sum of each pixel's channels, times `weight`. Source: MPSNNReduceFeatureChannelsSum.
class NNReduceFeatureChannelsSum : public NNReduceUnary {
 public:
  float weight = 1;  ///< Multiplies the sum.

  explicit NNReduceFeatureChannelsSum(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsSum(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsSum copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
  float factor() const override { return weight; }
};

/// The index of the smallest of each pixel's channels, the first of equal ones and the first NaN, from the first
/// channel read on. float16 holds indices up to 2048. Source: MPSNNReduceFeatureChannelsArgumentMin.
class NNReduceFeatureChannelsArgumentMin : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsArgumentMin(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsArgumentMin(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsArgumentMin copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.
};

/// The index of the largest of each pixel's channels, the first of equal ones and the first NaN, from the first
/// channel read on. float16 holds indices up to 2048. Source: MPSNNReduceFeatureChannelsArgumentMax.
class NNReduceFeatureChannelsArgumentMax : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsArgumentMax(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsArgumentMax(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsArgumentMax copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.
};

/// Channels times weights, over the channels of each pixel. Abstract. Source: MPSNNReduceBinary.
///
/// Both sources are read over regions of one size, W x H pixels, and as many channels; a result that the kernel makes
/// is W x H pixels of 1 channel.
class NNReduceBinary : public CNNBinaryKernel {
 public:
  /// What of the primary source is read, as far as it is there; in place of its offset, which has no effect.
  Region primarySourceClipRect = regionNoClip;
  /// The same of the secondary source, which holds the weights.
  Region secondarySourceClipRect = regionNoClip;

 protected:
  using CNNBinaryKernel::CNNBinaryKernel;
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  /// What the sum is divided by.
  enum class Divisor : std::uint8_t { one, channels, nonZeroWeights };
  virtual Divisor divisor() const = 0;  ///< The subclass's.
};

/// The weighted sum: sum over c of x[c] * w[c]. Source: MPSNNReduceFeatureChannelsAndWeightsSum.
class NNReduceFeatureChannelsAndWeightsSum : public NNReduceBinary {
 public:
  /// `doWeightedSumByNonZeroWeights`: divided by the number of weights that are not 0; without any the result is 0.
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNReduceFeatureChannelsAndWeightsSum(const Device& device, bool doWeightedSumByNonZeroWeights = false);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNReduceFeatureChannelsAndWeightsSum(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNReduceFeatureChannelsAndWeightsSum copy(const Device& device = {}) const { return copyOf(*this, device); }

  bool doWeightedSumByNonZeroWeights() const { return isByNonZeroWeights_; }  ///< Whether it is divided.

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
  Divisor divisor() const override { return isByNonZeroWeights_ ? Divisor::nonZeroWeights : Divisor::one; }

 private:
  bool isByNonZeroWeights_;
};

/// The weighted mean: sum over c of x[c] * w[c] / C. Source: MPSNNReduceFeatureChannelsAndWeightsMean.
class NNReduceFeatureChannelsAndWeightsMean : public NNReduceBinary {
 public:
  explicit NNReduceFeatureChannelsAndWeightsMean(const Device& device);            ///< As NNReduceRowMin.
  NNReduceFeatureChannelsAndWeightsMean(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReduceFeatureChannelsAndWeightsMean copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.

 protected:
  Divisor divisor() const override { return Divisor::channels; }
};

/// The mean over the pixels of each channel. Metalloid extension: the kernel of `NNReductionSpatialMeanNode`.
class NNReductionSpatialMean : public NNReduceUnary {
 public:
  explicit NNReductionSpatialMean(const Device& device);            ///< As NNReduceRowMin.
  NNReductionSpatialMean(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  NNReductionSpatialMean copy(const Device& device = {}) const {
    return copyOf(*this, device);
  }  ///< As NNReduceRowMin.

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
};

/// The gradient of `NNReductionSpatialMean`: dx = g / (W * H) in each of the W x H pixels that were read, and 0 in
/// others. Metalloid extension.
///
/// The gradient state tells what was read; without one it is the clip rectangle of the result.
class NNReductionSpatialMeanGradient : public CNNGradientKernel {
 public:
  explicit NNReductionSpatialMeanGradient(const Device& device);            ///< As NNReduceRowMin.
  NNReductionSpatialMeanGradient(Unarchiver& coder, const Device& device);  ///< As NNReduceRowMin.
  /// As NNReduceRowMin.
  NNReductionSpatialMeanGradient copy(const Device& device = {}) const { return copyOf(*this, device); }

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
};

}  // namespace metalloid
