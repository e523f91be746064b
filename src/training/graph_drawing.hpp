#pragma once

#include <metalloid/nn_graph.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace metalloid::training {

/// A graph to be drawn.
struct DrawnGraph {
  std::string title;
  NNGraphPlan plan;
  NNGraph::Memory memory;
  std::size_t batchSize = 1;
};

/// An SVG file with a panel for each graph: boxes for kernels, with what is fused into them; arrows for images, with
/// their sizes; dashed ones for states.
std::string drawGraphs(const std::vector<DrawnGraph>& graphs);

/// "12.3 MB"
std::string sizeText(std::size_t bytes);

}  // namespace metalloid::training
