#pragma once

#include "graph/channels.hpp"
#include "graph/graph_kernel.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/device.hpp>
#include <metalloid/nn_nodes.hpp>
#include <metalloid/nn_padding.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

class GraphNode;
class Filter;

/// What kind of state a filter leaves; narrowing constructors ask for it.
enum class StateKind { none, gradient, convolution, convolutionTranspose, binary, arithmetic, multiary };

/// What a filter needs to know of the graph that it becomes part of.
class BuildContext {
 public:
  virtual ~BuildContext() = default;
  /// The kernel made for another filter of the graph, which comes before in the order of encoding; null when it is not
  /// part of it, as in a graph of gradients alone.
  virtual GraphKernel* kernelOf(const GraphNode& filter) const = 0;
  /// Whether any filter of the graph reads the state of this one.
  virtual bool isStateRead(const GraphNode& filter) const = 0;
  /// The neuron that follows and is to be computed by this filter's kernel.
  virtual std::optional<NNNeuronDescriptor> fusedNeuron(const GraphNode& filter) const = 0;

  /// A place for what filters of one data source share, such as its weights on the device: empty for the first.
  std::shared_ptr<void>& shared(const void* dataSource) const { return shared_[dataSource]; }

  /// The data source to build from: the one given, or, for a copy of a graph on another device, its copy (one for each,
  /// however many filters share it).
  template <class Source>
  std::shared_ptr<Source> dataSource(const std::shared_ptr<Source>& source) const {
    if (!copyDevice_ || !source) return source;
    auto& copy = copies_[source.get()];
    if (!copy) {
      auto made = source->copy(*copyDevice_);
      copy = made ? std::move(made) : source;
    }
    return std::static_pointer_cast<Source>(copy);
  }

 protected:
  std::optional<Device> copyDevice_;  // set for copies

 private:
  mutable std::map<const void*, std::shared_ptr<void>> copies_;
  mutable std::map<const void*, std::shared_ptr<void>> shared_;
};

/// One gradient filter of a forward filter, and which of its sources it differentiates.
struct GradientFilter {
  Ref<GraphNode> node;
  std::size_t source = 0;
};

/// What a filter node describes. One class for each node class, in the file of its family; properties that nodes let
/// one set are members of it.
class Filter {
 public:
  Filter() = default;
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  virtual ~Filter() = default;

  /// The class of the node, such as CNNNeuronReLUNode.
  virtual std::string_view className() const = 0;

  std::vector<Ref<GraphNode>> sources;       ///< images read, in the kernel's order
  std::vector<Ref<GraphNode>> sourceStates;  ///< states read
  std::shared_ptr<NNPadding> padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);
  std::string label;

  /// The state that this filter leaves for its gradient.
  virtual StateKind stateKind() const { return StateKind::none; }
  virtual bool isGradient() const { return false; }
  /// Of a gradient filter: whether it reads the state of this one.
  virtual bool isGradientOf(const Filter& /*forward*/) const { return false; }
  /// Losses and initial gradients: the result is the gradient for the first source.
  virtual bool isItsOwnGradient() const { return false; }

  /// The gradient filters, given the gradient for the result of `self`, the vertex of this filter; wires forward images
  /// and states and copies parameters. @throws Error (invalidArgument) when there is none.
  virtual std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const;
  /// Whether a training graph goes on through a source: not where nobody wants its gradient.
  virtual bool isDifferentiated(std::size_t /*source*/) const { return true; }
  /// Whether the singular gradientFilter is there.
  virtual bool hasOneGradient() const { return true; }

  /// The kernel on a device. @throws Error for what cannot be built.
  virtual std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode& self,
                                                  const BuildContext& context) const = 0;

  /// States what is known of the sources' feature channels before an image is there, and tells those of the result. By
  /// default they are those of the source, for gradients those of the forward source.
  virtual ResultChannels resultChannels(SourceChannels& /*channels*/) const {
    return ResultChannels::ofSource(isGradient() ? 1 : 0);
  }

  /// The name for messages: the label, or that of the data source.
  virtual std::string name() const { return label; }

  // Training.

  /// The style, for filters that have parameters to train.
  virtual std::optional<NNTrainingStyle> trainingStyle() const { return std::nullopt; }

  /// Whether the filter writes a loss into its labels, wanted or not.
  virtual bool writesLoss() const { return false; }

  // Fusion.

  /// Whether a neuron that follows can be computed by this filter's kernel.
  virtual bool canTakeNeuron() const { return false; }
  /// Set for neurons that can become part of the filter before them.
  virtual std::optional<NNNeuronDescriptor> neuron() const { return std::nullopt; }
  /// Set for the gradient of a neuron.
  virtual std::optional<NNNeuronDescriptor> neuronGradient() const { return std::nullopt; }
  /// Whether the gradient of a neuron that comes before can be computed by this gradient filter's kernel.
  virtual bool canTakeNeuronGradient() const { return false; }
  /// Whether each source becomes some of the result's channels, from a multiple of 4 on.
  virtual bool isConcatenation() const { return false; }
  /// Whether the result of this gradient filter equals its first source, element by element.
  virtual bool isCopyOfGradient() const { return false; }
};

}  // namespace metalloid::detail
