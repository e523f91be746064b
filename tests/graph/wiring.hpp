#pragma once

#include "graph/graph_node.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_nodes.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

/// What tests of nodes look at: which class stands behind a node, and what it reads.
namespace metalloid::testing {

inline NNImageNode input(const std::string& label) { return NNImageNode({.label = label}); }

/// A node of this class that reads these images and states, in this order.
inline void expectReads(const NNFilterNode& node, std::string_view className, const std::vector<NNImageNode>& images,
                        const std::vector<NNStateNode>& states) {
  const detail::Filter& filter = *detail::implementation(node).filter;
  EXPECT_EQ(filter.className(), className);
  ASSERT_EQ(filter.sources.size(), images.size()) << className;
  for (std::size_t i = 0; i < images.size(); ++i)
    EXPECT_EQ(filter.sources[i].get(), &detail::implementation(images[i])) << className << " reads image " << i;
  ASSERT_EQ(filter.sourceStates.size(), states.size()) << className;
  for (std::size_t i = 0; i < states.size(); ++i)
    EXPECT_EQ(filter.sourceStates[i].get(), &detail::implementation(states[i])) << className << " reads state " << i;
}

/// The one gradient of a forward node, by both methods that make it: its class, and that it reads the incoming
/// gradient, `image` and the node's state.
template <class G>
G expectOneGradient(const NNFilterNode& forward, std::string_view className, const NNImageNode& image) {
  const NNImageNode g = input("g");
  EXPECT_EQ(forward.gradientFilters(g).size(), 1u);
  const NNGradientFilterNode made = forward.gradientFilter(g);
  expectReads(made, className, {g, image}, {forward.resultState()});
  EXPECT_NO_THROW(NNGradientStateNode(forward.resultState())) << className;
  return G(NNFilterNode(made));  // narrows, or throws
}

/// `make` throws invalidArgument with `part` in its message.
inline void expectRefused(const std::function<void()>& make, std::string_view part) {
  try {
    make();
    ADD_FAILURE() << "accepted what should be refused with " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
        << "\"" << part << "\" is missing in: " << error.what();
  }
}

/// A filter without a gradient leaves no state, and says so when a gradient arrives at it.
inline void expectNoGradient(const NNFilterNode& node, const std::string& className) {
  EXPECT_FALSE(node.resultState()) << className;
  EXPECT_TRUE(node.resultStates().empty()) << className;
  expectRefused([&] { node.gradientFilters(input("g")); }, className);
  expectRefused([&] { node.trainingGraph({.sourceGradient = input("g")}); }, className + " has no gradient");
}

}  // namespace metalloid::testing
