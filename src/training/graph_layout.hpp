#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace metalloid::training {

/// A box of a drawing: what happens in a network, in rows from top to bottom. Its forward part stands on the left, its
/// backward part on the right, each gradient in the row of what it is the gradient of.
struct LayoutBox {
  std::vector<std::string> lines;  ///< What it says; the first line is its name.
  bool isBackward = false;
  bool isPill = false;  ///< An input or a result, and no kernel.
  std::size_t row = 0;

  double x = 0, y = 0, width = 0, height = 0;  ///< Filled in by the layout.
};

/// An arrow between two boxes.
struct LayoutArrow {
  std::size_t from = 0;
  std::size_t to = 0;
  std::size_t port = 0;  ///< Arrows of one box with the same number begin at the same place.
  std::string label;     ///< At its beginning, once for each port.
  bool isDashed = false;
  bool isBackward = false;

  struct Point {
    double x = 0, y = 0;
  };
  std::vector<Point> path;  ///< Filled in by the layout: horizontal and vertical lines.
};

struct GraphLayout {
  std::vector<LayoutBox> boxes;
  std::vector<LayoutArrow> arrows;
  double width = 0, height = 0;

  /// Places boxes, which overlap neither each other nor the lines of arrows between others.
  void place();
};

}  // namespace metalloid::training
