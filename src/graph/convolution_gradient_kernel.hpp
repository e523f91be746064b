#pragma once

#include "graph/graph_kernel.hpp"

#include <metalloid/cnn_convolution.hpp>

#include <utility>

namespace metalloid::detail {

/// A gradient kernel of convolutions, which has the weights of the forward one and trains them.
template <class K>
class ConvolutionGradientKernel final : public SingleKernel<K> {
 public:
  ConvolutionGradientKernel(K kernel, bool reloads) : SingleKernel<K>(std::move(kernel)), reloads_(reloads) {}

  bool canSkipResult() const override { return true; }
  void skipResult() override {
    this->kernel().gradientOption = CNNConvolutionGradientOption::gradientWithWeightsAndBias;
  }
  void update(CommandBuffer& commandBuffer, const StateBatch& states) override {
    const auto& weights = this->kernel().sharedWeights();
    const auto updated =
        weights.dataSource()->update(commandBuffer, CNNConvolutionGradientState(states.front()), weights.state());
    // The forward kernel has the same weights.
    if (updated) this->kernel().reloadWeightsAndBiases(commandBuffer, updated);
  }
  void updateOnHost(const StateBatch& states) override {
    const auto& weights = this->kernel().sharedWeights();
    if (weights.dataSource()->update(CNNConvolutionGradientState(states.front()), weights.state()))
      weights.reloadFromDataSource();
  }
  void reload() override {
    if (reloads_) this->kernel().reloadWeightsAndBiasesFromDataSource();
  }

 private:
  bool reloads_;  // there is no forward kernel in the graph that has these weights and does it
};

}  // namespace metalloid::detail
