// Command buffers that come again are replayed as graphs: the bits must be those of the first time, whatever changes
// between them.

#include "backends/cuda/convolution_steps.hpp"
#include "backends/cuda/cuda_test_device.hpp"

#include "backends/cuda/executor.hpp"
#include "core/command_buffer_implementation.hpp"
#include "training/network.hpp"
#include "training/optimizer.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metalloid {
namespace {

using testing::ConvolutionSteps;
using testing::CudaTest;

constexpr std::size_t kBatch = 48, kInputs = 20, kClasses = 5, kSteps = 12;

cuda::QueueStatistics statisticsOf(const CommandQueue& queue) {
  return static_cast<cuda::CudaExecutor&>(detail::implementation(queue).executor()).statistics();
}

/// A small network that takes steps; the results of each step go to another place, and Adam's rate is never the same.
class Steps {
 public:
  Steps(const Device& device, bool onOneQueue)
      : device_(device),
        queue_(device.makeCommandQueue()),
        isOnOneQueue_(onOneQueue),
        network_(device, options(), kBatch),
        optimizer_(device, {.kind = training::OptimizerKind::adam, .learningRate = 0.01f, .gradientClip = {}},
                   network_.parameters()),
        inputs_(device, {.rows = kBatch, .columns = kInputs}),
        labels_(device, {.length = kBatch, .dataType = DataType::uInt32}),
        losses_(device, {.length = kBatch * kSteps}) {
    network_.initialize(queue_, 3);
    std::vector<float> values(kBatch * kInputs);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
    inputs_.write(values);
    std::vector<std::uint32_t> classes(kBatch);
    for (std::size_t i = 0; i < kBatch; ++i) classes[i] = static_cast<std::uint32_t>(i % kClasses);
    labels_.write(classes);
  }

  void run() {
    for (std::size_t step = 0; step < kSteps; ++step) {
      // Without a queue that remembers nothing is ever replayed.
      const CommandQueue queue = isOnOneQueue_ ? queue_ : device_.makeCommandQueue();
      CommandBuffer commands = queue.makeCommandBuffer();
      const Vector losses(losses_.data(), step * kBatch * sizeof(float), {.length = kBatch});
      network_.encodeTrainingStep(commands, {inputs_, labels_}, {.losses = losses, .correct = {}, .logits = {}});
      optimizer_.encode(commands, 0.01f);
      commands.commit();
      commands.waitUntilCompleted();
    }
  }

  std::vector<float> losses() const { return losses_.read<float>(); }
  std::vector<float> parameters() { return network_.parameters().values().read<float>(); }
  const CommandQueue& queue() const { return queue_; }

 private:
  static training::NetworkOptions options() {
    training::NetworkOptions options;
    options.inputs = kInputs;
    options.classes = kClasses;
    options.hidden = {32, 16};
    return options;
  }

  Device device_;
  CommandQueue queue_;
  bool isOnOneQueue_;
  training::Network network_;
  training::ParameterOptimizer optimizer_;
  Matrix inputs_;
  Vector labels_;
  Vector losses_;
};

TEST_F(CudaTest, ReplayGivesTheBitsOfSingleLaunches) {
  Steps replayed(device, true), launched(device, false);
  replayed.run();
  launched.run();
  EXPECT_EQ(replayed.losses(), launched.losses());
  EXPECT_EQ(replayed.parameters(), launched.parameters());
}

TEST_F(CudaTest, StepsAreReplayedFromTheSecondOn) {
  Steps steps(device, true);
  steps.run();
  const auto statistics = statisticsOf(steps.queue());
  EXPECT_EQ(statistics.graphCaptures, 1u);
  EXPECT_EQ(statistics.graphReplays, kSteps - 1);
}

TEST_F(CudaTest, TwoRunsGiveTheSameBits) {
  Steps first(device, true), second(device, true);
  first.run();
  second.run();
  EXPECT_EQ(first.losses(), second.losses());
  EXPECT_EQ(first.parameters(), second.parameters());
}

TEST_F(CudaTest, SteadyStateAllocatesNothing) {
  Steps steps(device, true);
  steps.run();
  const std::size_t peak = device.peakAllocatedBytes();
  const std::size_t held = device.allocatedBytes();
  steps.run();
  EXPECT_EQ(device.allocatedBytes(), held);
  EXPECT_EQ(device.peakAllocatedBytes(), peak);
}

TEST_F(CudaTest, StepsOfConvolutionsAreReplayedFromTheSecondOn) {
  // Blocks of other tests serve the first step, but not as well as those that it leaves serve the second.
  detail::implementation(device).releaseCachedBlocks();
  ConvolutionSteps steps(device, kBatch);
  const auto before = statisticsOf(steps.queue());
  steps.run(1);
  const auto statistics = statisticsOf(steps.queue());
  EXPECT_EQ(statistics.graphCaptures - before.graphCaptures, 1u);
  EXPECT_EQ(statistics.graphReplays - before.graphReplays, kSteps - 1);
}

TEST_F(CudaTest, StepsOfConvolutionsGiveTheSameBitsHoweverManyAreInFlight) {
  ConvolutionSteps oneByOne(device, kBatch), ahead(device, kBatch);
  oneByOne.run(1);
  ahead.run(4);
  EXPECT_EQ(oneByOne.losses(), ahead.losses());
}

TEST_F(CudaTest, StepsOfConvolutionsAllocateNothingInSteadyState) {
  ConvolutionSteps others(device, kBatch);
  others.run(4);  // leaves more blocks than a step takes
  ConvolutionSteps steps(device, kBatch);
  steps.run(1);
  const std::size_t peak = device.peakAllocatedBytes(), held = device.allocatedBytes();
  const auto before = statisticsOf(steps.queue());
  steps.run(1);
  EXPECT_EQ(device.allocatedBytes(), held);
  EXPECT_EQ(device.peakAllocatedBytes(), peak);
  EXPECT_EQ(statisticsOf(steps.queue()).graphReplays - before.graphReplays, kSteps);
}

TEST_F(CudaTest, StepsOfConvolutionsAreReplayedHoweverManyAreInFlight) {
  ConvolutionSteps steps(device, kBatch);
  const auto before = statisticsOf(steps.queue());
  constexpr std::size_t kRuns = 10, kInFlight = 4;
  for (std::size_t i = 0; i < kRuns; ++i) steps.run(kInFlight);
  const auto statistics = statisticsOf(steps.queue());
  // Each of those that are in flight has addresses of its own, which may change twice while blocks are made.
  EXPECT_LE(statistics.submissions - statistics.graphReplays - (before.submissions - before.graphReplays),
            3 * kInFlight);
  EXPECT_LE(statistics.graphCaptures - before.graphCaptures, 3 * kInFlight);
}

}  // namespace
}  // namespace metalloid
