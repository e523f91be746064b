#include "backends/cuda/convolution_steps.hpp"
#include "backends/cuda/recordings.hpp"
#include "core/command_buffer_implementation.hpp"

#include <metalloid/command_queue.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

// Whether training steps would be replayed is a matter of the addresses that they find, on any device.

namespace metalloid {
namespace {

constexpr std::size_t kSteps = testing::ConvolutionSteps::kSteps;

struct NoGraph {};

struct NoLauncher {
  void launch(cuda::Operations) {}
  std::unique_ptr<NoGraph> capture(cuda::Operations) { return std::make_unique<NoGraph>(); }
  cuda::Patching patch(NoGraph&, const std::vector<operations::Operation>&, cuda::Operations) {
    return cuda::Patching::done;
  }
  void replay(NoGraph&) {}
};

/// What a CUDA queue would do with training steps.
class Steps {
 public:
  explicit Steps(const Device& device) : steps_(device, 8) {}

  /// How many of some steps are launched, captured, and replayed; so many are in flight at one time.
  std::map<cuda::Execution, std::size_t> run(std::size_t inFlight) {
    std::map<cuda::Execution, std::size_t> counts;
    steps_.run(inFlight, [&](const CommandBuffer& commands) {
      std::vector<const operations::Operation*> operations;
      for (const auto& record : detail::implementation(commands).records()) operations.push_back(&record.operation);
      NoLauncher launcher;
      ++counts[recordings_.run(operations, launcher)];
    });
    return counts;
  }

 private:
  testing::ConvolutionSteps steps_;
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
