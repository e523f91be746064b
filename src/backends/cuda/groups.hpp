#pragma once

#include "operations/operation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

/// Which operations of a command buffer one launch carries out together: updates of optimizers that follow each other.
/// Nothing here is CUDA's.
namespace metalloid::cuda {

using Operations = std::span<const operations::Operation* const>;

/// The operations in the order of their launches, and where each group ends there.
struct Groups {
  std::vector<std::uint32_t> order;  // places in the command buffer
  std::vector<std::uint32_t> ends;

  /// The places of group g.
  std::span<const std::uint32_t> operator[](std::size_t g) const {
    const std::uint32_t begin = g == 0 ? 0 : ends[g - 1];
    return {order.data() + begin, order.data() + ends[g]};
  }
  std::size_t size() const { return ends.size(); }

  friend bool operator==(const Groups&, const Groups&) = default;
};

/// What one launch takes at most: a table of so many tensors fits the arguments of a kernel.
inline constexpr std::size_t kMostInGroup = 32;

/// Whether a view is one block of float32 that packs of 16 bytes can be read from; the last one may be incomplete.
inline bool isFlat(const operations::MatrixView& view) {
  const bool hasGaps = (view.rows > 1 && view.rowBytes != view.columns * sizeof(float)) ||
                       (view.matrices > 1 && view.matrixBytes != view.rows * view.columns * sizeof(float));
  return view.type == DataType::float32 && !hasGaps && reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 &&
         view.matrices * view.rows * view.columns > 0;
}

/// The views of an update: what it reads, then what it writes, nil where there is none.
struct UpdateOperands {
  static constexpr std::size_t kWritten = 2;  // the first of those that are written
  std::array<const operations::MatrixView*, 6> views;

  bool areFlat() const {
    for (const auto* view : views) {
      if (view && *view && !isFlat(*view)) return false;
    }
    return true;
  }

  /// Whether the order of two updates matters.
  bool conflictWith(const UpdateOperands& other) const {
    for (std::size_t i = 0; i < views.size(); ++i) {
      for (std::size_t j = 0; j < views.size(); ++j) {
        if ((i >= kWritten || j >= kWritten) && overlap(views[i], other.views[j])) return true;
      }
    }
    return false;
  }

 private:
  static bool overlap(const operations::MatrixView* one, const operations::MatrixView* other) {
    if (!one || !*one || !other || !*other) return false;
    const auto begin = [](const auto* view) { return reinterpret_cast<std::uintptr_t>(view->data); };
    // Flat: nothing lies between its elements.
    const auto end = [&](const auto* view) {
      return begin(view) + view->matrices * view->rows * view->columns * sizeof(float);
    };
    return begin(one) < end(other) && begin(other) < end(one);
  }
};

inline UpdateOperands operandsOf(const operations::OptimizerStochasticGradientDescent& o) {
  return {{&o.operands.gradient, &o.operands.values, &o.operands.result, &o.momentum}};
}
inline UpdateOperands operandsOf(const operations::OptimizerRMSProp& o) {
  return {{&o.operands.gradient, &o.operands.values, &o.operands.result, &o.sumOfSquares}};
}
inline UpdateOperands operandsOf(const operations::OptimizerAdam& o) {
  return {{&o.operands.gradient, &o.operands.values, &o.operands.result, &o.momentum, &o.velocity, &o.maximumVelocity}};
}
/// Nothing for an operation that is no update.
inline std::optional<UpdateOperands> operandsOf(const operations::Operation& operation) {
  if (const auto* o = std::get_if<operations::OptimizerStochasticGradientDescent>(&operation)) return operandsOf(*o);
  if (const auto* o = std::get_if<operations::OptimizerRMSProp>(&operation)) return operandsOf(*o);
  if (const auto* o = std::get_if<operations::OptimizerAdam>(&operation)) return operandsOf(*o);
  return std::nullopt;
}

/// Updates of one kind that follow each other, but for updates of other kinds between them, and whose order does not
/// matter are a group; every other operation is one by itself.
inline Groups groupsOf(Operations operations) {
  Groups groups;
  groups.order.reserve(operations.size());
  std::vector<std::uint32_t> run;  // updates whose order does not matter
  std::vector<UpdateOperands> operandsOfRun;
  const auto endRun = [&] {
    while (!run.empty()) {
      const std::size_t kind = operations[run.front()]->index();
      std::erase_if(run, [&](std::uint32_t place) {
        if (operations[place]->index() != kind) return false;
        groups.order.push_back(place);
        return true;
      });
      groups.ends.push_back(static_cast<std::uint32_t>(groups.order.size()));
    }
    operandsOfRun.clear();
  };
  for (std::uint32_t place = 0; place < operations.size(); ++place) {
    const auto operands = operandsOf(*operations[place]);
    const bool joins = operands && operands->areFlat();
    bool fits = joins && run.size() < kMostInGroup;
    for (std::size_t i = 0; fits && i < operandsOfRun.size(); ++i) fits = !operands->conflictWith(operandsOfRun[i]);
    if (!fits) endRun();
    if (joins) {
      run.push_back(place);
      operandsOfRun.push_back(*operands);
    } else {
      groups.order.push_back(place);
      groups.ends.push_back(static_cast<std::uint32_t>(groups.order.size()));
    }
  }
  endRun();
  return groups;
}

}  // namespace metalloid::cuda
