#pragma once

#include "core/state_implementation.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/detail/image_kernel.hpp>
#include <metalloid/state.hpp>

#include <cstddef>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// What a forward kernel read and wrote, for its gradient.
struct ForwardRecord {
  struct Source {
    SourceSettings settings;
    ImageDescriptor image;
  };
  std::vector<Source> sources;
  PixelRect clip;  // of the destination, as far as it was there
  std::size_t destinationFeatureChannelOffset = 0;
  ImageDescriptor destination;
};

/// Behind NNGradientState, NNBinaryGradientState and NNMultiaryGradientState; kernels that leave more derive from it.
class GradientStateImplementation : public StateImplementation {
 public:
  GradientStateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer, ForwardRecord record)
      : StateImplementation(std::move(device), commandBuffer), record_(std::move(record)) {}

  const ForwardRecord& record() const { return record_; }
  std::string_view className() const override;

 private:
  ForwardRecord record_;
};

/// The part of the destination that a clip rectangle leaves.
PixelRect clipped(const Region& clipRect, const ImageDescriptor& destination);

/// The record of an encode of `kernel` with these images.
ForwardRecord recordOf(const ImageKernel& kernel, const ImageBatch& sources, const Image& destination);

/// A state without contents of its own, for kernels whose gradient needs the record only. `S` is the handle's class.
template <class S>
State makeRecordState(const ImageKernel& kernel, const ImageKernel::ResultStateArguments& arguments) {
  return stateHandle<S>(makeRef<GradientStateImplementation>(
      Ref<DeviceImplementation>(&implementation(kernel.device())), arguments.commandBuffer,
      recordOf(kernel, arguments.sources, arguments.destination)));
}

}  // namespace metalloid::detail
