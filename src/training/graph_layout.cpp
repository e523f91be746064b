#include "training/graph_layout.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace metalloid::training {
namespace {

constexpr double kCharacterWidth = 7.4;  // of the 13-unit font
constexpr double kLineHeight = 17;
constexpr double kPaddingX = 14, kPaddingY = 9;
constexpr double kMinimumWidth = 120;
constexpr double kBetweenBoxes = 56;
constexpr double kBetweenZones = 40;
constexpr double kLane = 14;       // between vertical lines that pass rows
constexpr double kTrack = 8;       // between horizontal lines in a gap
constexpr double kLabelRoom = 22;  // at both sides of a gap
constexpr double kMargin = 20;

/// Numbers for intervals so that those of one number do not touch: the lowest that is free.
class Tracks {
 public:
  std::size_t add(double from, double to) {
    if (from > to) std::swap(from, to);
    std::size_t track = 0;
    while (track < taken_.size() && std::ranges::any_of(taken_[track], [&](const auto& other) {
             return from <= other.second + kTrack && other.first - kTrack <= to;
           })) {
      ++track;
    }
    if (track == taken_.size()) taken_.emplace_back();
    taken_[track].emplace_back(from, to);
    return track;
  }
  std::size_t count() const { return taken_.size(); }

 private:
  std::vector<std::vector<std::pair<double, double>>> taken_;
};

enum class Side { top, bottom, left, right };

class Placement {
 public:
  explicit Placement(GraphLayout& layout) : layout_(layout), routes_(layout.arrows.size()) {}

  void place() {
    for (LayoutBox& box : layout_.boxes) measure(box);
    rows_.resize(rowCount());
    for (std::size_t i = 0; i < layout_.boxes.size(); ++i) {
      LayoutBox& box = layout_.boxes[i];
      auto& row = rows_[box.row];
      (box.isBackward ? row.backward : row.forward).push_back(i);
      row.height = std::max(row.height, box.height);
    }
    chooseSides();
    chooseLanes();
    placeColumns();
    choosePorts();
    chooseTracks();
    placeRows();
    drawArrows();
  }

 private:
  struct Row {
    std::vector<std::size_t> forward, backward;  // boxes
    double height = 0, y = 0;
  };
  /// How an arrow goes: from a side of a box into a gap, along a lane past rows, and through another gap.
  struct Route {
    Side start = Side::bottom, end = Side::top;
    std::size_t firstGap = 0, lastGap = 0;  // gap g lies below row g
    bool isDirect = false;                  // a horizontal line, from box to box
    std::optional<std::size_t> lane;
    std::size_t zone = 0;  // of the lane: left of, between, right of the boxes
    double startX = 0, endX = 0, laneX = 0;
    std::size_t firstTrack = 0, lastTrack = 0;
  };

  static void measure(LayoutBox& box) {
    std::size_t longest = 0;
    for (const auto& line : box.lines) longest = std::max(longest, line.size());
    box.width = std::max(kMinimumWidth, static_cast<double>(longest) * kCharacterWidth + 2 * kPaddingX);
    box.height = static_cast<double>(box.lines.size()) * kLineHeight + 2 * kPaddingY;
  }

  std::size_t rowCount() const {
    std::size_t rows = 0;
    for (const LayoutBox& box : layout_.boxes) rows = std::max(rows, box.row + 1);
    return rows;
  }

  const LayoutBox& from(std::size_t arrow) const { return layout_.boxes[layout_.arrows[arrow].from]; }
  const LayoutBox& to(std::size_t arrow) const { return layout_.boxes[layout_.arrows[arrow].to]; }

  void chooseSides() {
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      Route& route = routes_[i];
      const LayoutBox &a = from(i), &b = to(i);
      if (a.row < b.row) {
        route.firstGap = a.row;
        route.lastGap = b.row - 1;
      } else if (a.row > b.row) {
        route.start = Side::top;
        route.end = Side::bottom;
        route.firstGap = a.row - 1;
        route.lastGap = b.row;
      } else {
        const Row& row = rows_[a.row];
        route.isDirect = !a.isBackward && b.isBackward && row.forward.back() == layout_.arrows[i].from &&
                         row.backward.front() == layout_.arrows[i].to;
        route.end = Side::bottom;
        route.firstGap = route.lastGap = a.row;
        if (route.isDirect) {
          route.start = Side::right;
          route.end = Side::left;
        }
      }
    }
  }

  void chooseLanes() {
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      Route& route = routes_[i];
      if (route.firstGap == route.lastGap) continue;
      route.zone = !from(i).isBackward && !to(i).isBackward ? 0 : from(i).isBackward && to(i).isBackward ? 2 : 1;
      // In rows, far apart enough that lines of one lane never seem to be one.
      route.lane = lanes_[route.zone].add(static_cast<double>(route.firstGap) * 3 * kTrack,
                                          static_cast<double>(route.lastGap) * 3 * kTrack);
    }
  }

  void placeColumns() {
    const auto width = [&](const std::vector<std::size_t>& boxes) {
      double sum = boxes.empty() ? 0 : -kBetweenBoxes;
      for (const std::size_t box : boxes) sum += layout_.boxes[box].width + kBetweenBoxes;
      return sum;
    };
    double forward = 0, backward = 0;
    for (const Row& row : rows_) {
      forward = std::max(forward, width(row.forward));
      backward = std::max(backward, width(row.backward));
    }
    const auto laneWidth = [&](std::size_t zone) { return static_cast<double>(lanes_[zone].count()) * kLane; };
    double x = kMargin;
    const auto zone = [&](std::size_t index) {
      laneX_[index] = x + kLane / 2;
      x += laneWidth(index);
      if (lanes_[index].count() > 0) x += kLane;
    };
    const auto boxes = [&](bool isBackward, double zoneWidth) {
      for (const Row& row : rows_) {
        const auto& all = isBackward ? row.backward : row.forward;
        double at = x + (zoneWidth - width(all)) / 2;
        for (const std::size_t box : all) {
          layout_.boxes[box].x = at;
          at += layout_.boxes[box].width + kBetweenBoxes;
        }
      }
      x += zoneWidth;
    };
    zone(0);
    boxes(false, forward);
    if (backward > 0) {
      x += kBetweenZones;
      zone(1);
      x += kBetweenZones;
      boxes(true, backward);
    }
    if (lanes_[2].count() > 0) x += kLane;
    zone(2);
    layout_.width = x + kMargin;
    for (Route& route : routes_) {
      if (route.lane) route.laneX = laneX_[route.zone] + static_cast<double>(*route.lane) * kLane;
    }
  }

  double centre(std::size_t box) const { return layout_.boxes[box].x + layout_.boxes[box].width / 2; }

  /// Where arrows touch the top and the bottom of boxes, ordered by where they lead to.
  void choosePorts() {
    // By box, side, and arrow end or port: where it goes.
    std::map<std::pair<std::size_t, Side>, std::map<std::pair<bool, std::size_t>, double>> ports;
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      const LayoutArrow& arrow = layout_.arrows[i];
      if (routes_[i].isDirect) continue;
      const double first = routes_[i].lane ? routes_[i].laneX : centre(arrow.to);
      const double last = routes_[i].lane ? routes_[i].laneX : centre(arrow.from);
      ports[{arrow.from, routes_[i].start}].try_emplace({false, arrow.port}, first);
      ports[{arrow.to, routes_[i].end}].try_emplace({true, i}, last);
    }
    for (auto& [place, ends] : ports) {
      std::vector<std::pair<double, std::pair<bool, std::size_t>>> order;
      for (const auto& [end, towards] : ends) order.emplace_back(towards, end);
      std::ranges::sort(order);
      const LayoutBox& box = layout_.boxes[place.first];
      for (std::size_t i = 0; i < order.size(); ++i) {
        ends[order[i].second] = box.x + box.width * static_cast<double>(i + 1) / static_cast<double>(order.size() + 1);
      }
    }
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      const LayoutArrow& arrow = layout_.arrows[i];
      if (routes_[i].isDirect) continue;
      routes_[i].startX = ports.at({arrow.from, routes_[i].start}).at({false, arrow.port});
      routes_[i].endX = ports.at({arrow.to, routes_[i].end}).at({true, i});
    }
  }

  void chooseTracks() {
    gaps_.resize(rows_.size());
    for (Route& route : routes_) {
      if (route.isDirect) continue;
      if (!route.lane) {
        if (route.startX != route.endX) route.firstTrack = gaps_[route.firstGap].add(route.startX, route.endX);
        continue;
      }
      route.firstTrack = gaps_[route.firstGap].add(route.startX, route.laneX);
      route.lastTrack = gaps_[route.lastGap].add(route.laneX, route.endX);
    }
  }

  double gapHeight(std::size_t gap) const { return 2 * kLabelRoom + static_cast<double>(gaps_[gap].count()) * kTrack; }
  double trackY(std::size_t gap, std::size_t track) const {
    return rows_[gap].y + rows_[gap].height + kLabelRoom + (static_cast<double>(track) + 0.5) * kTrack;
  }

  void placeRows() {
    double y = kMargin;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].y = y;
      for (const auto* boxes : {&rows_[i].forward, &rows_[i].backward}) {
        for (const std::size_t box : *boxes)
          layout_.boxes[box].y = y + (rows_[i].height - layout_.boxes[box].height) / 2;
      }
      y += rows_[i].height;
      const bool isLast = i + 1 == rows_.size();
      if (!isLast || gaps_[i].count() > 0) y += gapHeight(i);
    }
    layout_.height = y + kMargin;
  }

  void drawArrows() {
    const auto yOf = [](const LayoutBox& box, Side side) { return side == Side::top ? box.y : box.y + box.height; };
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      const Route& route = routes_[i];
      const LayoutBox &a = from(i), &b = to(i);
      auto& path = layout_.arrows[i].path;
      if (route.isDirect) {
        const double y = std::clamp(a.y + a.height / 2, b.y + 4, b.y + b.height - 4);
        path = {{a.x + a.width, y}, {b.x, y}};
        continue;
      }
      path.push_back({route.startX, yOf(a, route.start)});
      if (route.lane) {
        const double first = trackY(route.firstGap, route.firstTrack), last = trackY(route.lastGap, route.lastTrack);
        path.insert(path.end(), {{route.startX, first}, {route.laneX, first}, {route.laneX, last}, {route.endX, last}});
      } else if (route.startX != route.endX || route.start == route.end) {
        const double y = trackY(route.firstGap, route.firstTrack);
        path.insert(path.end(), {{route.startX, y}, {route.endX, y}});
      }
      path.push_back({route.endX, yOf(b, route.end)});
    }
  }

  GraphLayout& layout_;
  std::vector<Route> routes_;  // of the arrows
  std::vector<Row> rows_;
  std::vector<Tracks> gaps_;
  Tracks lanes_[3];
  double laneX_[3] = {};
};

}  // namespace

void GraphLayout::place() { Placement(*this).place(); }

}  // namespace metalloid::training
