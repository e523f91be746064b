#pragma once

#include "graph/graph_kernel.hpp"

#include <metalloid/nn_reshape.hpp>

#include <cstddef>
#include <utility>

namespace metalloid::detail {

struct ReshapeShape {
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 0;
};

/// The kernel takes its shape from the destination; the node knows it.
class ReshapeKernel final : public SingleKernel<NNReshape> {
 public:
  ReshapeKernel(NNReshape kernel, const ReshapeShape& shape) : SingleKernel(std::move(kernel)), shape_(shape) {}

  ImageDescriptor sizeDestination(const ImageBatch& sources, const StateBatch& sourceStates) override {
    ImageDescriptor size = kernel().sizeDestination(sources, sourceStates);
    size.width = shape_.width;
    size.height = shape_.height;
    size.featureChannels = shape_.channels;
    return size;
  }
  void archive(Archiver& archiver) override;

 private:
  ReshapeShape shape_;
};

}  // namespace metalloid::detail
