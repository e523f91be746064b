#pragma once

#include <metalloid/cnn_kernel.hpp>

namespace metalloid {

/// Copies a box of the source: the pixels of the clip rectangle's size from `offset` on, in the channels from
/// `sourceFeatureChannelOffset` on, as many as `sourceFeatureChannelMaxCount`, source and destination allow. Source:
/// MPSNNSlice.
///
/// The box must lie within the source. A destination that the kernel makes reaches to the end of the box, which is then
/// cut at the end of the source; `padding` has no effect on size and offset. Formats may differ.
class NNSlice : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNSlice(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNSlice(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNSlice copy(const Device& device = {}) const { return copyOf(*this, device); }

  void setSourceOffset(std::size_t, Offset) override {}  ///< For the library's own use: the offset is the caller's.

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
};

}  // namespace metalloid
