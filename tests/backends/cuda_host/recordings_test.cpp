#include "backends/cuda/recordings.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::cuda {
namespace {

using operations::MatrixFullyConnected;
using operations::MatrixNeuron;
using operations::MatrixView;
using operations::Operation;

using Commands = std::vector<Operation>;

MatrixView at(std::uintptr_t address) {
  return {.data = reinterpret_cast<std::byte*>(address), .rows = 4, .columns = 4, .rowBytes = 16};
}

/// A step: a library's product, which cannot be patched, and one of our kernels, which can.
Commands step(std::uintptr_t product, std::uintptr_t neuron, double alpha = 1, DataType type = DataType::float32) {
  MatrixFullyConnected first;
  first.input = at(0x1000);
  first.result = at(product);
  MatrixNeuron second;
  second.input = at(neuron);
  second.input.type = type;
  second.alpha = alpha;
  return {first, second};
}

/// A graph that holds what it was captured from.
struct FakeGraph {
  Commands commands;
};

/// Notes what runs. A neuron's type is the choice of its kernel, which a graph keeps.
class FakeLauncher {
 public:
  void launch(Operations operations) { ran = copyOf(operations); }

  std::unique_ptr<FakeGraph> capture(Operations operations) {
    if (failsToCapture) throw std::runtime_error("capture");
    return std::make_unique<FakeGraph>(FakeGraph{copyOf(operations)});
  }

  Patching patch(FakeGraph& graph, const std::vector<Operation>& recorded, Operations operations) {
    EXPECT_EQ(recorded, graph.commands) << "What is recorded is what the graph holds.";
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (recorded[i] == *operations[i]) continue;
      EXPECT_TRUE(isPatchable(*operations[i])) << "A library's call keeps its arguments.";
      const auto typeOf = [](const Operation& o) { return std::get<MatrixNeuron>(o).input.type; };
      if (typeOf(recorded[i]) != typeOf(*operations[i])) return Patching::refused;
    }
    if (breaksPatching) {
      graph.commands.back() = *operations.back();  // half of it
      return Patching::broken;
    }
    if (failsToPatch) {
      graph.commands.back() = *operations.back();
      throw std::runtime_error("patch");
    }
    graph.commands = copyOf(operations);
    return Patching::done;
  }

  void replay(FakeGraph& graph) { ran = graph.commands; }

  Commands ran;
  bool failsToCapture = false, breaksPatching = false, failsToPatch = false;

 private:
  static Commands copyOf(Operations operations) {
    Commands copy;
    for (const auto* operation : operations) copy.push_back(*operation);
    return copy;
  }
};

class CudaRecordings : public ::testing::Test {
 protected:
  Execution run(const Commands& commands) {
    std::vector<const Operation*> pointers;
    for (const auto& operation : commands) pointers.push_back(&operation);
    const Execution execution = recordings_.run(pointers, launcher_);
    EXPECT_EQ(launcher_.ran, commands) << "What runs is what was asked for.";
    return execution;
  }

  static constexpr std::size_t kMost = 4;
  Recordings<FakeGraph> recordings_{kMost};
  FakeLauncher launcher_;
};

TEST_F(CudaRecordings, CaptureTheSecondAndReplayFromThenOn) {
  EXPECT_EQ(run(step(1, 2)), Execution::launched);
  EXPECT_EQ(run(step(1, 2)), Execution::captured);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(step(1, 2)), Execution::replayed);
}

TEST_F(CudaRecordings, PatchWhatDiffersInOurOwnKernels) {
  run(step(1, 2, 0.5));
  EXPECT_EQ(run(step(1, 4, 0.25)), Execution::captured);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(step(1, 6, i)), Execution::replayed);
  EXPECT_EQ(recordings_.size(), 1u);
}

TEST_F(CudaRecordings, HaveAGraphForEachAddressOfALibrarysOperands) {
  for (const auto product : {1u, 2u, 3u}) EXPECT_EQ(run(step(product, 9, product)), Execution::launched);
  for (const auto product : {1u, 2u, 3u}) EXPECT_EQ(run(step(product, 9, 2)), Execution::captured);
  for (int round = 0; round < 4; ++round) {
    for (const auto product : {1u, 2u, 3u}) EXPECT_EQ(run(step(product, 9, round + 3)), Execution::replayed);
  }
}

TEST_F(CudaRecordings, KeepBothOfTwoMakesThatTakeTurns) {
  const auto one = [](double alpha) { return step(1, 2, alpha, DataType::float32); };
  const auto other = [](double alpha) { return step(1, 2, alpha, DataType::float16); };
  // What has been seen once is taken for the other's kind, too, until there is a graph.
  for (int i = 0; i < 3; ++i) {
    run(one(i));
    run(other(i));
  }
  for (int i = 3; i < 8; ++i) {
    EXPECT_EQ(run(one(i)), Execution::replayed) << i;
    EXPECT_EQ(run(other(i)), Execution::replayed) << i;
  }
}

TEST_F(CudaRecordings, DropAGraphThatIsHalfPatched) {
  run(step(1, 2, 1));
  run(step(1, 2, 1));
  launcher_.breaksPatching = true;
  EXPECT_EQ(run(step(1, 2, 2)), Execution::launched);
  launcher_.breaksPatching = false;
  EXPECT_EQ(run(step(1, 2, 1)), Execution::captured);
  EXPECT_EQ(run(step(1, 2, 2)), Execution::replayed);
}

TEST_F(CudaRecordings, DropAGraphWhosePatchingFails) {
  run(step(1, 2, 1));
  run(step(1, 2, 1));
  launcher_.failsToPatch = true;
  EXPECT_THROW(run(step(1, 2, 2)), std::runtime_error);
  launcher_.failsToPatch = false;
  EXPECT_EQ(recordings_.size(), 0u);
  EXPECT_EQ(run(step(1, 2, 1)), Execution::launched);
}

TEST_F(CudaRecordings, CaptureAgainAfterACaptureThatFailed) {
  run(step(1, 2));
  launcher_.failsToCapture = true;
  EXPECT_THROW(run(step(1, 2)), std::runtime_error);
  launcher_.failsToCapture = false;
  EXPECT_EQ(run(step(1, 2)), Execution::captured);
  EXPECT_EQ(run(step(1, 2)), Execution::replayed);
}

TEST_F(CudaRecordings, DoNotMistakeAnotherNumberOfOperations) {
  Commands longer = step(1, 2);
  longer.push_back(longer.back());
  run(step(1, 2));
  EXPECT_EQ(run(longer), Execution::launched);
  EXPECT_EQ(run(step(1, 2)), Execution::captured);
}

TEST_F(CudaRecordings, LaunchSingleOperations) {
  const Commands one = {MatrixNeuron()};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(one), Execution::launched);
  EXPECT_EQ(recordings_.size(), 0u);
}

TEST_F(CudaRecordings, ForgetTheOneThatWasUsedLeastRecently) {
  for (unsigned product = 1; product <= kMost; ++product) run(step(product, 9));
  EXPECT_EQ(run(step(1, 9)), Execution::captured);
  run(step(kMost + 1, 9));  // in the place of the second
  EXPECT_EQ(recordings_.size(), kMost);
  EXPECT_EQ(run(step(1, 9)), Execution::replayed);
  EXPECT_EQ(run(step(2, 9)), Execution::launched);
}

TEST_F(CudaRecordings, AreEmptyAfterClear) {
  run(step(1, 2));
  recordings_.clear();
  EXPECT_EQ(run(step(1, 2)), Execution::launched);
}

}  // namespace
}  // namespace metalloid::cuda
