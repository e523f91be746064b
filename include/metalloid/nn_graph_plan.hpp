#pragma once

#include <metalloid/image.hpp>
#include <metalloid/nn_nodes.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace metalloid {

/// Metalloid extension: what an `NNGraph` encodes, as data for drawings and checks. Numbers refer to the lists.
struct NNGraphPlan {
  /// An image that is read or made.
  struct Image {
    std::string name;            ///< For messages.
    ImageDescriptor descriptor;  ///< Its size in the last encode; sizes of 0 before the first.
    bool isInput = false;        ///< Of the graph.
    bool isResult = false;       ///< Returned by encodes.
    bool isExported = false;     ///< Returned with the intermediate images.
    std::optional<std::size_t>
        producer;                      ///< The step that makes it; none for inputs, and for what fusion has left out.
    std::vector<std::size_t> readers;  ///< Steps, each as often as it reads.
  };

  /// A state that is read or made.
  struct State {
    std::string name;                     ///< For messages.
    bool isInput = false;                 ///< Of the graph.
    std::optional<std::size_t> producer;  ///< The step that makes it; none for inputs.
    std::vector<std::size_t> readers;     ///< Steps.
  };

  /// A kernel, or several that belong together.
  struct Step {
    std::string className;                   ///< Of its node.
    std::string label;                       ///< Of its node, or of its data source.
    std::vector<std::string> fused;          ///< Names of other filters that it computes as well.
    std::vector<std::size_t> sources;        ///< Images.
    std::vector<std::size_t> sourceStates;   ///< States.
    std::size_t result = 0;                  ///< Image.
    bool resultIsNeeded = true;              ///< Whether that is made.
    std::optional<std::size_t> resultState;  ///< The state that it makes, when somebody reads it.
    bool isGradient = false;                 ///< A gradient filter.
    bool isInPlace = false;                  ///< A concatenation that its sources write themselves.
    NNTrainingStyle trainingStyle = NNTrainingStyle::UpdateDeviceNone;  ///< Where its parameters are updated.
  };

  std::vector<Image> images;  ///< In no order that matters.
  std::vector<State> states;  ///< As above.
  std::vector<Step> steps;    ///< In the order of encoding.
};

}  // namespace metalloid
