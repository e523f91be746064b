#pragma once

#include "graph/graph_node.hpp"

namespace metalloid::detail {

/// The vertex of an addition node of two images.
Ref<GraphNode> makeAddition(const Ref<GraphNode>& left, const Ref<GraphNode>& right);

}  // namespace metalloid::detail
