#pragma once

#include <metalloid/archive.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/image_kernel.hpp>
#include <metalloid/image.hpp>
#include <metalloid/state.hpp>

#include <concepts>
#include <memory>
#include <string>
#include <utility>

namespace metalloid::detail {

/// What a graph encodes for one filter: usually one kernel.
class GraphKernel {
 public:
  GraphKernel() = default;
  GraphKernel(const GraphKernel&) = delete;
  GraphKernel& operator=(const GraphKernel&) = delete;
  virtual ~GraphKernel() = default;

  /// The kernel that allocators are told, whose label and padding the filter has.
  virtual ImageKernel& kernel() = 0;

  /// The destination for one image of each source.
  virtual ImageDescriptor sizeDestination(const ImageBatch& sources, const StateBatch& sourceStates) {
    return kernel().sizeDestination(sources, sourceStates);
  }
  virtual StateBatch makeResultStates(const ImageKernel::ResultStateArguments& arguments) {
    return kernel().makeResultStates(arguments);
  }
  virtual void encode(CommandBuffer& commandBuffer, const ImageOperands& operands) {
    kernel().encodeImages(commandBuffer, operands);
  }

  /// Whether it hands images to code of a caller, who knows the images of a batch one by one. Otherwise it may be given
  /// one image that holds the batch.
  virtual bool takesImagesOneByOne() const { return false; }

  /// Whether the kernel can leave its result out because nobody needs it, and still has something to do.
  virtual bool canSkipResult() const { return false; }
  /// From now on the result is not needed.
  virtual void skipResult() {}

  /// Archives what `readKernel` makes the same of; data sources and callbacks do not travel.
  virtual void archive(Archiver& archiver) { kernel().encode(archiver); }

  // Parameters.

  /// Asks the data source for new parameters, with the gradients in `states`, and takes them over on the device.
  virtual void update(CommandBuffer& /*commandBuffer*/, const StateBatch& /*states*/) {}
  /// The same on the host, after the command buffer has completed.
  virtual void updateOnHost(const StateBatch& /*states*/) {}
  /// Reads the data source again. No work of the graph may be under way.
  virtual void reload() {}
};

/// One kernel, as it is.
template <std::derived_from<ImageKernel> K>
class SingleKernel : public GraphKernel {
 public:
  explicit SingleKernel(K kernel) : kernel_(std::move(kernel)) {}
  K& kernel() override { return kernel_; }

 private:
  K kernel_;
};

template <std::derived_from<ImageKernel> K>
std::unique_ptr<GraphKernel> single(K kernel) {
  return std::make_unique<SingleKernel<K>>(std::move(kernel));
}

}  // namespace metalloid::detail
