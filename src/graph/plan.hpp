#pragma once

#include "graph/graph_node.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// An image of the network, as the plan sees it. Properties are those that the node had when the graph was built.
struct PlannedImage {
  Ref<GraphNode> node;  ///< null in what an archive held
  GraphNode::ImageProperties properties;
  std::string name;
  bool isInput = false;
  bool isResult = false;                     ///< needed: made by the graph's own allocator
  std::size_t producer = 0;                  ///< step; not for inputs
  std::vector<std::size_t> readers;          ///< steps, each as often as it reads
  std::optional<std::size_t> concatenation;  ///< written in place, into this image
  std::size_t concatenationSource = 0;       ///< as this source of it
};

/// A state of the network.
struct PlannedState {
  Ref<GraphNode> node;  ///< null in what an archive held
  GraphNode::StateProperties properties;
  std::string name;
  bool isInput = false;
  std::size_t producer = 0;
  std::vector<std::size_t> readers;
};

/// One kernel to encode.
struct PlannedStep {
  Ref<GraphNode> node;  ///< null in what an archive held
  std::string className;
  std::string label;
  std::string name;  ///< of both
  bool isGradient = false;
  std::vector<std::size_t> sources;       ///< images
  std::vector<std::size_t> sourceStates;  ///< states
  std::size_t result = 0;                 ///< image
  std::optional<std::size_t> state;       ///< made, when somebody reads it or it is exported
  bool resultIsNeeded = true;
  bool isInPlace = false;  ///< a concatenation whose sources write their part themselves
  NNTrainingStyle trainingStyle = NNTrainingStyle::UpdateDeviceNone;
  std::optional<NNNeuronDescriptor> fusedNeuron;
  std::vector<std::string> fused;  ///< names of the filters that this one computes as well
};

/// One of the results that a graph is asked for.
struct GraphResult {
  Ref<GraphNode> node;
  bool isNeeded = true;
};

/// The filters that results need, in the order of encoding, and what was simplified.
struct Plan {
  std::vector<PlannedImage> images;
  std::vector<PlannedState> states;
  std::vector<PlannedStep> steps;
  std::vector<std::size_t> sourceImages;            ///< inputs, in the order of first use
  std::vector<std::size_t> sourceStates;            ///< inputs, in the order of first use
  std::vector<std::size_t> intermediateImages;      ///< exported, in the order of encoding
  std::vector<std::size_t> destinationStates;       ///< exported, in the order of encoding
  std::vector<std::optional<std::size_t>> results;  ///< the image of each result; none when it is not needed
  std::vector<std::string> notes;                   ///< simplifications made and not made, for the description

  /// One result of a graph.
  struct Wanted {
    GraphNode* node = nullptr;
    bool isNeeded = true;
  };
  /// @throws Error (invalidArgument) for a description that has a cycle or that nothing is to be computed of.
  static Plan make(const std::vector<Wanted>& results, bool allowFusion);

  /// From the steps: who makes and reads images and states.
  void link();
  /// From the linked steps: which states and results are wanted, and what is returned.
  void finish();
};

/// For messages: `CNNConvolutionNode "conv1"`.
std::string nameOf(std::string_view className, std::string_view label);

}  // namespace metalloid::detail
