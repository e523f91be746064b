#include "backends/cuda/recordings.hpp"
#include "core/command_buffer_implementation.hpp"
#include "training/batch.hpp"
#include "training/graph_model.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

// Whether training steps would be replayed is a matter of the addresses that they find, on any device.

namespace metalloid {
namespace {

constexpr std::size_t kBatch = 8, kSteps = 12;

struct NoGraph {};

struct NoLauncher {
  void launch(cuda::Operations) {}
  std::unique_ptr<NoGraph> capture(cuda::Operations) { return std::make_unique<NoGraph>(); }
  cuda::Patching patch(NoGraph&, const std::vector<operations::Operation>&, cuda::Operations) {
    return cuda::Patching::done;
  }
  void replay(NoGraph&) {}
};

/// A small convolutional network that takes steps, and what a CUDA queue would do with them.
class Steps {
 public:
  explicit Steps(const Device& device)
      : queue_(device.makeCommandQueue()),
        model_(device, options(), kBatch),
        slot_(device, model_.batchLayout(), kBatch),
        losses_(device, {.length = kBatch * kSteps}) {
    model_.initialize(queue_, 3);
    slot_.write(kBatch, std::vector<float>(kBatch * 36, 0.5f), std::vector<std::uint32_t>(kBatch, 1));
  }

  /// How many of some steps are launched, captured, and replayed; so many are in flight at one time.
  std::map<cuda::Execution, std::size_t> run(std::size_t inFlight) {
    std::map<cuda::Execution, std::size_t> counts;
    std::vector<CommandBuffer> committed;
    for (std::size_t step = 0; step < kSteps; ++step) {
      CommandBuffer& commands = committed.emplace_back(queue_.makeCommandBuffer());
      const Vector losses(losses_.data(), step * kBatch * sizeof(float), {.length = kBatch});
      model_.encodeTrainingStep(commands, slot_.batch(kBatch), {.losses = losses, .correct = {}, .logits = {}}, 0.01f);
      std::vector<const operations::Operation*> operations;
      for (const auto& record : detail::implementation(commands).records()) operations.push_back(&record.operation);
      NoLauncher launcher;
      ++counts[recordings_.run(operations, launcher)];
      commands.commit();
      if (step + 1 >= inFlight) committed[step + 1 - inFlight].waitUntilCompleted();
    }
    committed.back().waitUntilCompleted();
    return counts;
  }

 private:
  static training::TrainingOptions options() {
    training::TrainingOptions options;
    options.network.name = "small";
    options.network.text =
        "input 6x6x1\nconvolution 3x3x8\nbatch-normalization\nrelu\nmax-pool 2x2\ndense 12\nrelu\ndropout 0.2\ndense "
        "4\n";
    options.network.inputs = 36;
    options.network.classes = 4;
    options.batchSize = kBatch;
    return options;
  }

  CommandQueue queue_;
  training::GraphModel model_;
  training::BatchSlot slot_;
  Vector losses_;
  cuda::Recordings<NoGraph> recordings_{64};
};

TEST(CudaTrainingSteps, AreReplayedWhateverBlocksOthersLeft) {
  const Device device = Device::named("cpu");
  Steps others(device);
  others.run(4);
  Steps steps(device);
  steps.run(1);
  EXPECT_EQ(steps.run(1)[cuda::Execution::replayed], kSteps);
}

TEST(CudaTrainingSteps, AreReplayedHoweverManyAreInFlight) {
  constexpr std::size_t kRuns = 10, kInFlight = 4;
  Steps steps(Device::named("cpu"));
  std::size_t others = 0;
  for (std::size_t i = 0; i < kRuns; ++i) others += kSteps - steps.run(kInFlight)[cuda::Execution::replayed];
  // Each of those in flight is launched once and captured once; its addresses may change twice while blocks are made.
  EXPECT_LE(others, 2 * 3 * kInFlight) << "of " << kRuns * kSteps;
}

}  // namespace
}  // namespace metalloid
