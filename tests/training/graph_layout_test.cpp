#include "training/graph_layout.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

LayoutBox box(std::string name, std::size_t row, bool isBackward = false) {
  LayoutBox made;
  made.lines = {std::move(name)};
  made.row = row;
  made.isBackward = isBackward;
  return made;
}

LayoutArrow arrow(std::size_t from, std::size_t to) {
  return {.from = from, .to = to, .port = from, .label = {}, .isDashed = false, .isBackward = false, .path = {}};
}

/// A forward chain with a branch that skips rows, and its gradients beside it.
GraphLayout example() {
  GraphLayout layout;
  layout.boxes = {box("input", 0),    box("a", 1),        box("b", 2),
                  box("b2", 2),       box("c", 3),        box("gc", 3, true),
                  box("gb", 2, true), box("ga", 1, true), box("a rather long name", 3, true)};
  for (const auto& [from, to] : std::vector<std::pair<std::size_t, std::size_t>>{{0, 1},
                                                                                 {1, 2},
                                                                                 {1, 3},
                                                                                 {2, 4},
                                                                                 {3, 4},
                                                                                 {0, 4},
                                                                                 {4, 5},
                                                                                 {5, 6},
                                                                                 {6, 7},
                                                                                 {5, 7},
                                                                                 {2, 6},
                                                                                 {1, 6},
                                                                                 {0, 8},
                                                                                 {4, 8}})
    layout.arrows.push_back(arrow(from, to));
  layout.place();
  return layout;
}

TEST(GraphLayout, BoxesDoNotOverlapAndLieInTheDrawing) {
  const GraphLayout layout = example();
  for (std::size_t i = 0; i < layout.boxes.size(); ++i) {
    const LayoutBox& a = layout.boxes[i];
    EXPECT_GE(a.x, 0);
    EXPECT_GE(a.y, 0);
    EXPECT_LE(a.x + a.width, layout.width);
    EXPECT_LE(a.y + a.height, layout.height);
    for (std::size_t j = 0; j < i; ++j) {
      const LayoutBox& b = layout.boxes[j];
      const bool apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
      EXPECT_TRUE(apart) << a.lines[0] << " and " << b.lines[0];
    }
  }
}

TEST(GraphLayout, ArrowsCrossNoBoxAndEndAtTheirs) {
  const GraphLayout layout = example();
  for (const LayoutArrow& arrow : layout.arrows) {
    ASSERT_GE(arrow.path.size(), 2u);
    const auto touches = [](const LayoutBox& box, const LayoutArrow::Point& point) {
      return point.x >= box.x && point.x <= box.x + box.width && point.y >= box.y && point.y <= box.y + box.height;
    };
    EXPECT_TRUE(touches(layout.boxes[arrow.from], arrow.path.front()));
    EXPECT_TRUE(touches(layout.boxes[arrow.to], arrow.path.back()));
    for (std::size_t i = 1; i < arrow.path.size(); ++i) {
      const auto &a = arrow.path[i - 1], &b = arrow.path[i];
      EXPECT_TRUE(a.x == b.x || a.y == b.y) << "neither horizontal nor vertical";
      for (const LayoutBox& box : layout.boxes) {
        const bool crosses = std::min(a.x, b.x) < box.x + box.width && std::max(a.x, b.x) > box.x &&
                             std::min(a.y, b.y) < box.y + box.height && std::max(a.y, b.y) > box.y;
        EXPECT_FALSE(crosses) << layout.boxes[arrow.from].lines[0] << " to " << layout.boxes[arrow.to].lines[0]
                              << " crosses " << box.lines[0];
      }
    }
  }
}

}  // namespace
}  // namespace metalloid::training
