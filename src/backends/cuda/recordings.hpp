#pragma once

#include "backends/cuda/groups.hpp"
#include "operations/operation.hpp"

#include <algorithm>
#include <cstddef>
#include <list>
#include <memory>
#include <type_traits>
#include <variant>
#include <vector>

/// What a queue remembers of the command buffers it has seen, and what it does with the next one. Nothing here is
/// CUDA's.
namespace metalloid::cuda {

template <class O, class... Others>
inline constexpr bool isOneOf = (std::is_same_v<O, Others> || ...);

/// Whether all of an operation's launches are of our own kernels, whose arguments can be changed in a graph. Those of
/// libraries cannot, nor can the memory copies and fills that are nodes of their own.
inline bool isPatchable(const operations::Operation& operation) {
  return std::visit(
      []<class O>(const O&) {
        return !isOneOf<O, operations::MatrixFullyConnected, operations::MatrixFullyConnectedGradientForData,
                        operations::MatrixFullyConnectedGradientForWeightsAndBias, operations::MatrixMultiplication,
                        operations::MatrixCopy, operations::MatrixBatchNormalization,
                        operations::MatrixBatchNormalizationGradient, operations::CNNConvolution,
                        operations::CNNConvolutionGradientForData, operations::CNNConvolutionGradientForWeightsAndBias>;
      },
      operation);
}

/// How patching a graph ended.
enum class Patching {
  done,
  refused,  // it is of another make; the graph is as it was
  broken,   // half done: the graph is of no use any more
};

/// What was done with a command buffer.
enum class Execution { launched, captured, replayed };

/// The command buffers of a queue, each with its graph once it has been seen twice.
///
/// The first of a kind is launched operation by operation. The second one is captured, and from then on the kind is
/// replayed. Of one kind are command buffers whose operations are equal but for the operands and numbers of patchable
/// ones, if these make the same launches of it.
///
/// `Graph` is a captured command buffer.
template <class Graph>
class Recordings {
 public:
  explicit Recordings(std::size_t most) : most_(most) {}

  /// Carries out a command buffer. The launcher has
  ///     void launch(Operations);
  ///     std::unique_ptr<Graph> capture(Operations);                                    // launches nothing
  ///     Patching patch(Graph&, const std::vector<Operation>& recorded, Operations);    // from the one to the other
  ///     void replay(Graph&);
  /// What they throw passes through; what a graph holds is never in doubt afterwards.
  template <class Launcher>
  Execution run(Operations operations, Launcher& launcher) {
    if (const auto same = find([&](const Recording& r) { return matches(r, operations, /*exactly=*/true); });
        same != recordings_.end()) {
      return replay(same, operations, launcher);
    }
    for (auto it = recordings_.begin(); it != recordings_.end();) {
      const auto candidate = it++;
      if (!candidate->graph || !matches(*candidate, operations, /*exactly=*/false)) continue;
      if (patch(candidate, operations, launcher)) return replay(candidate, operations, launcher);
    }
    const auto seen = find([&](const Recording& r) { return !r.graph && matches(r, operations, /*exactly=*/false); });
    if (seen != recordings_.end()) return replay(seen, operations, launcher);
    launcher.launch(operations);
    if (operations.size() < 2) return Execution::launched;  // a graph of one operation costs what its launch does
    keep(recordings_.emplace_front().operations, operations);
    if (recordings_.size() > most_) recordings_.pop_back();
    return Execution::launched;
  }

  void clear() { recordings_.clear(); }
  std::size_t size() const { return recordings_.size(); }

 private:
  struct Recording {
    std::vector<operations::Operation> operations;
    std::unique_ptr<Graph> graph;
  };
  using Place = typename std::list<Recording>::iterator;

  template <class Condition>
  Place find(const Condition& condition) {
    return std::find_if(recordings_.begin(), recordings_.end(), condition);
  }

  static bool matches(const Recording& recording, Operations operations, bool exactly) {
    if (recording.operations.size() != operations.size()) return false;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const operations::Operation &recorded = recording.operations[i], &operation = *operations[i];
      if (recorded.index() != operation.index()) return false;
      if ((exactly || !isPatchable(operation)) && !(recorded == operation)) return false;
    }
    return true;
  }

  static void keep(std::vector<operations::Operation>& kept, Operations operations) {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (i < kept.size()) {
        kept[i] = *operations[i];
      } else {
        kept.push_back(*operations[i]);
      }
    }
  }

  /// False: the recording is of another kind, or gone.
  template <class Launcher>
  bool patch(Place place, Operations operations, Launcher& launcher) {
    Patching patching = Patching::broken;
    try {
      patching = launcher.patch(*place->graph, place->operations, operations);
      if (patching == Patching::done) keep(place->operations, operations);
    } catch (...) {
      recordings_.erase(place);
      throw;
    }
    if (patching == Patching::broken) recordings_.erase(place);
    return patching == Patching::done;
  }

  /// Replays what a recording holds; without a graph, what it shall hold.
  template <class Launcher>
  Execution replay(Place place, Operations operations, Launcher& launcher) {
    recordings_.splice(recordings_.begin(), recordings_, place);  // the one used last is in front
    const bool isNew = !place->graph;
    if (isNew) {
      auto graph = launcher.capture(operations);
      keep(place->operations, operations);
      place->graph = std::move(graph);
    }
    launcher.replay(*place->graph);
    return isNew ? Execution::captured : Execution::replayed;
  }

  std::size_t most_;
  std::list<Recording> recordings_;
};

}  // namespace metalloid::cuda
