#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_copy.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

constexpr MatrixDescriptor kShape{.rows = 4, .columns = 4};

/// Work that takes some hundred milliseconds on any device: longer than the test's thread is likely to be kept waiting.
class SlowWork {
 public:
  explicit SlowWork(const Device& device)
      : kernel_(device),
        times_(device.name() == "reference" ? 2 : 50),
        left_(device, shape(device)),
        right_(device, shape(device)),
        result_(device, shape(device)) {
    for (const Matrix& matrix : {left_, right_, result_}) matrix.data();  // makes the storage now
  }

  void encode(CommandBuffer& commands) const {
    for (int i = 0; i < times_; ++i) {
      kernel_.encode(commands, {.inputMatrix = left_, .weightMatrix = right_, .resultMatrix = result_});
    }
  }

 private:
  static MatrixDescriptor shape(const Device& device) {
    const std::size_t size = device.name() == "reference" ? 200 : 512;
    return {.rows = size, .columns = size};
  }

  MatrixFullyConnected kernel_;
  int times_;
  Matrix left_, right_, result_;
};

/// Adds 1 to every element.
void encodeIncrement(CommandBuffer& commands, const Matrix& matrix) {
  MatrixNeuron kernel(commands.device());
  kernel.setNeuronType(CNNNeuronType::linear, 1, 1);
  kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
}

/// A kernel that fails when it executes: a label without a class.
class FailingWork {
 public:
  explicit FailingWork(const Device& device)
      : loss(device, {.length = 4}), kernel_(device), logits_(device, kShape), labels_(device, labelDescriptor()) {
    kernel_.label = "loss";
    labels_.write(std::vector<std::uint32_t>{0, 1, 4, 3});
  }

  void encode(CommandBuffer& commands) const {
    kernel_.encode(commands, {.sourceMatrix = logits_, .labelVector = labels_, .resultLossVector = loss});
  }

  Vector loss;

 private:
  static VectorDescriptor labelDescriptor() { return {.length = 4, .dataType = DataType::uInt32}; }

  MatrixSoftMaxCrossEntropy kernel_;
  Matrix logits_;
  Vector labels_;
};

class CommandBufferTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
  CommandQueue queue_ = GetParam().makeCommandQueue();
};

TEST_P(CommandBufferTest, KnowsWhereItBelongs) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  EXPECT_EQ(commands.device(), device());
  EXPECT_EQ(commands.commandQueue(), queue_);
  EXPECT_EQ(queue_.device(), device());
  EXPECT_EQ(commands.label(), "");
  commands.setLabel("step 1");
  queue_.setLabel("training");
  EXPECT_EQ(commands.label(), "step 1");
  EXPECT_EQ(queue_.label(), "training");
  EXPECT_EQ(commands.gpuStartTime(), 0);
  EXPECT_EQ(commands.gpuEndTime(), 0);
  EXPECT_EQ(commands.error(), std::nullopt);
  EXPECT_EQ(commands.temporaryBytes(), 0u);
}

TEST_P(CommandBufferTest, ComputesNothingBeforeItsCommit) {
  const Matrix matrix(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  encodeIncrement(commands, matrix);
  EXPECT_EQ(commands.status(), CommandBufferStatus::notEnqueued);
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 0));
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 1));
}

TEST_P(CommandBufferTest, ExecutesInTheOrderOfEncodesAndCommits) {
  const Matrix matrix(device(), kShape);
  MatrixNeuron twice(device()), increment(device());
  twice.setNeuronType(CNNNeuronType::linear, 2, 0);
  increment.setNeuronType(CNNNeuronType::linear, 1, 1);
  std::vector<CommandBuffer> all;
  float expected = 0;
  for (int i = 0; i < 5; ++i) {
    CommandBuffer commands = queue_.makeCommandBuffer();
    increment.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
    twice.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
    all.push_back(commands);
    expected = 2 * (expected + 1);
  }
  // Opened in one order, committed in another: only commits count.
  CommandBuffer last = queue_.makeCommandBuffer();
  increment.encode(last, {.inputMatrix = matrix, .resultMatrix = matrix});
  for (CommandBuffer& commands : all) commands.commit();
  last.commit();
  last.waitUntilCompleted();
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, expected + 1));
  double end = 0;
  for (const CommandBuffer& commands : all) {
    EXPECT_EQ(commands.status(), CommandBufferStatus::completed);
    EXPECT_GE(commands.gpuStartTime(), end);
    EXPECT_GE(commands.gpuEndTime(), commands.gpuStartTime());
    end = commands.gpuEndTime();
  }
}

TEST_P(CommandBufferTest, CommitReturnsBeforeTheWorkIsDone) {
  const SlowWork work(device());
  CommandBuffer commands = queue_.makeCommandBuffer();
  work.encode(commands);
  commands.commit();
  const CommandBufferStatus status = commands.status();
  EXPECT_TRUE(status == CommandBufferStatus::committed || status == CommandBufferStatus::scheduled) << name(status);
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::completed);
  EXPECT_GT(commands.gpuEndTime(), commands.gpuStartTime());
}

TEST_P(CommandBufferTest, GoesThroughItsStatusesInOrder) {
  const SlowWork work(device());
  CommandBuffer before = queue_.makeCommandBuffer(), commands = queue_.makeCommandBuffer();
  work.encode(before);
  work.encode(commands);
  std::vector<CommandBufferStatus> seen{commands.status()};
  before.commit();
  commands.commit();
  do {
    if (commands.status() != seen.back()) seen.push_back(commands.status());
  } while (seen.back() < CommandBufferStatus::completed);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.front(), CommandBufferStatus::notEnqueued);
  EXPECT_NE(std::ranges::find(seen, CommandBufferStatus::committed), seen.end()) << "It had to wait for its turn.";
  EXPECT_NE(std::ranges::find(seen, CommandBufferStatus::scheduled), seen.end());
  EXPECT_EQ(seen.back(), CommandBufferStatus::completed);
}

TEST_P(CommandBufferTest, AnEmptyOneCompletes) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  commands.commit();
  commands.waitUntilCompleted();
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::completed);
}

TEST_P(CommandBufferTest, IsCommittedOnce) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  commands.setLabel("step 7");
  commands.commit();
  expectError(ErrorCode::invalidArgument, {"\"step 7\"", "committed"}, [&] { commands.commit(); });
  commands.waitUntilCompleted();
  expectError(ErrorCode::invalidArgument, {"committed"}, [&] { commands.commit(); });
}

TEST_P(CommandBufferTest, IsNotWaitedForBeforeItsCommit) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  commands.setLabel("step 7");
  expectError(ErrorCode::invalidArgument, {"\"step 7\"", "before its commit"}, [&] { commands.waitUntilCompleted(); });
  commands.commit();
  commands.waitUntilCompleted();
}

TEST_P(CommandBufferTest, TakesNothingAfterItsCommit) {
  const Matrix matrix(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  commands.commit();
  expectError(ErrorCode::invalidArgument, {"committed", "encoding MatrixNeuron"},
              [&] { encodeIncrement(commands, matrix); });
  expectError(ErrorCode::invalidArgument, {"committed"}, [&] { commands.addCompletedHandler([](auto&) {}); });
  expectError(ErrorCode::invalidArgument, {"committed"}, [&] { TemporaryMatrix(commands, kShape); });
  expectError(ErrorCode::invalidArgument, {"committed"}, [&] { commands.setLabel("late"); });
  commands.waitUntilCompleted();
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 0));
}

TEST_P(CommandBufferTest, OneThatIsNeverCommittedDoesNothing) {
  const Matrix matrix(device(), kShape);
  {
    CommandBuffer commands = queue_.makeCommandBuffer();
    commands.addCompletedHandler([](auto&) { ADD_FAILURE() << "It has not completed."; });
    TemporaryMatrix temporary(commands, kShape);
    encodeIncrement(commands, matrix);
  }
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 0));
}

TEST_P(CommandBufferTest, CompletesWithoutAnyHandleToIt) {
  const Matrix matrix(device(), kShape);
  std::promise<void> called;
  {
    CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();  // the queue's handle goes too
    encodeIncrement(commands, matrix);
    commands.addCompletedHandler([&](auto&) { called.set_value(); });
    commands.commit();
  }
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 1));
  called.get_future().wait();
}

TEST_P(CommandBufferTest, MovesAndCopiesShareTheWork) {
  const Matrix matrix(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  CommandBuffer copy = commands;
  EXPECT_EQ(copy, commands);
  encodeIncrement(copy, matrix);
  encodeIncrement(commands, matrix);
  CommandBuffer moved = std::move(copy);
  moved.commit();
  EXPECT_NE(commands.status(), CommandBufferStatus::notEnqueued);
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 2));
}

// --- Completion handlers --------------------------------------------------------------------------------------------

TEST_P(CommandBufferTest, CallsHandlersInOrderOnAnotherThread) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  for (int i = 0; i < 3; ++i) {
    commands.addCompletedHandler([&, i](const CommandBuffer& ended) {
      EXPECT_EQ(ended, commands);
      EXPECT_EQ(ended.status(), CommandBufferStatus::completed);
      order.push_back(i);
      threads.push_back(std::this_thread::get_id());
    });
  }
  commands.commit();
  commands.waitUntilCompleted();  // for the handlers too, which makes the vectors safe to read
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  for (const auto thread : threads) EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_P(CommandBufferTest, ASlowHandlerDelaysNoWork) {
  // The handler does not return before later work of the same queue is done: it cannot be on the executing thread.
  const Matrix matrix(device(), kShape);
  std::promise<void> laterIsDone;
  CommandBuffer first = queue_.makeCommandBuffer();
  first.addCompletedHandler([done = laterIsDone.get_future().share()](auto&) {
    EXPECT_EQ(done.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  });
  first.commit();
  CommandBuffer later = queue_.makeCommandBuffer();
  encodeIncrement(later, matrix);
  later.commit();
  later.waitUntilCompleted();
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 1));
  laterIsDone.set_value();
  first.waitUntilCompleted();
}

TEST_P(CommandBufferTest, ThrowingHandlersAreHarmless) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  std::atomic<int> calls = 0;
  commands.addCompletedHandler([&](auto&) {
    ++calls;
    throw std::runtime_error("from a handler");
  });
  commands.addCompletedHandler([&](auto&) {
    ++calls;
    throw 5;
  });
  commands.addCompletedHandler([&](auto&) { ++calls; });
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(commands.error(), std::nullopt);
  CommandBuffer next = queue_.makeCommandBuffer();
  next.commit();
  next.waitUntilCompleted();
}

TEST_P(CommandBufferTest, AHandlerMayWaitAndReadAndCommit) {
  const Matrix matrix(device(), kShape);
  CommandBuffer first = queue_.makeCommandBuffer(), second = queue_.makeCommandBuffer();
  encodeIncrement(first, matrix);
  encodeIncrement(second, matrix);
  std::vector<float> seen;
  first.addCompletedHandler([&](const CommandBuffer& ended) {
    ended.waitUntilCompleted();  // for the work, which is over; not for this handler
    second.commit();
    second.waitUntilCompleted();
    seen = matrix.read<float>();
  });
  first.commit();
  first.waitUntilCompleted();
  EXPECT_EQ(seen, std::vector<float>(16, 2));
}

TEST_P(CommandBufferTest, AHandlerMayDropTheLastHandles) {
  std::promise<void> called;
  {
    auto queue = std::make_shared<CommandQueue>(device().makeCommandQueue());
    CommandBuffer commands = queue->makeCommandBuffer();
    commands.addCompletedHandler([queue, &called](auto&) mutable {
      queue.reset();
      called.set_value();
    });
    queue.reset();
    commands.commit();
  }
  called.get_future().wait();
}

// --- Failures -------------------------------------------------------------------------------------------------------

TEST_P(CommandBufferTest, StoresAFailureAndThrowsItAtEveryWait) {
  const FailingWork failing(device());
  const Matrix before(device(), kShape), after(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  commands.setLabel("step 12");
  encodeIncrement(commands, before);
  failing.encode(commands);
  encodeIncrement(commands, after);
  bool handlerSawIt = false;
  commands.addCompletedHandler([&](const CommandBuffer& ended) {
    handlerSawIt = ended.status() == CommandBufferStatus::error && ended.error().has_value();
  });
  commands.commit();
  for (int i = 0; i < 3; ++i) {
    expectError(ErrorCode::invalidArgument,
                {"label", "4", "MatrixSoftMaxCrossEntropy \"loss\"", "\"step 12\"", "device " + device().name()},
                [&] { commands.waitUntilCompleted(); });
  }
  EXPECT_TRUE(handlerSawIt);
  EXPECT_EQ(commands.status(), CommandBufferStatus::error);
  ASSERT_TRUE(commands.error());
  EXPECT_EQ(commands.error()->code(), ErrorCode::invalidArgument);
}

TEST_P(CommandBufferTest, AFailureEndsTheWorkBehindItInItsCommandBuffer) {
  const FailingWork failing(device());
  const Matrix matrix(device(), kShape), untouched(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer(), next = queue_.makeCommandBuffer();
  encodeIncrement(commands, matrix);
  failing.encode(commands);
  encodeIncrement(commands, matrix);
  encodeIncrement(next, matrix);
  commands.commit();
  next.commit();
  next.waitUntilCompleted();  // the queue goes on
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(16, 2)) << "Of the failed one only the work before the failure.";
  EXPECT_EQ(untouched.read<float>(), std::vector<float>(16, 0));
}

TEST_P(CommandBufferTest, ReadsAndWritesThrowTheFailureOfTheLastWorkOnTheirBuffer) {
  const FailingWork failing(device());
  const Matrix other(device(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  failing.encode(commands);
  commands.commit();
  for (int i = 0; i < 2; ++i) {
    expectError(ErrorCode::invalidArgument, {"label"}, [&] { failing.loss.read<float>(); });
    expectError(ErrorCode::invalidArgument, {"label"}, [&] { failing.loss.data().read(); });
    expectError(ErrorCode::invalidArgument, {"label"}, [&] { failing.loss.write(std::vector<float>(4)); });
  }
  EXPECT_EQ(other.read<float>(), std::vector<float>(16, 0)) << "Other buffers are not concerned.";

  // Work that ends well makes the buffer good again.
  const MatrixDescriptor row{.rows = 1, .columns = 4};
  CommandBuffer repair = queue_.makeCommandBuffer();
  MatrixNeuron(device()).encode(
      repair, {.inputMatrix = Matrix(device(), row), .resultMatrix = Matrix(failing.loss.data(), row)});
  repair.commit();
  EXPECT_EQ(failing.loss.read<float>(), std::vector<float>(4, 0));
}

TEST_P(CommandBufferTest, APermutationThatLeadsOutsideFails) {
  const Matrix source(device(), kShape), destination(device(), kShape);
  const Vector rows(device(), {.length = 4, .dataType = DataType::uInt32});
  rows.write(std::vector<std::uint32_t>{0, 1, 2, 4});
  const MatrixCopy kernel(device(), {.copyRows = 4, .copyColumns = 4});
  CommandBuffer commands = queue_.makeCommandBuffer();
  kernel.encode(commands, {.copyDescriptor = MatrixCopyDescriptor(MatrixCopyDescriptor::Operation{
                               .sourceMatrix = source, .destinationMatrix = destination}),
                           .rowPermuteIndices = rows});
  commands.commit();
  expectError(ErrorCode::invalidArgument, {"MatrixCopy", "4"}, [&] { commands.waitUntilCompleted(); });
}

INSTANTIATE_TEST_SUITE_P(Devices, CommandBufferTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

TEST(NilCommandBuffer, IsRefusedByEveryCall) {
  CommandBuffer commands;
  const CommandQueue queue;
  EXPECT_FALSE(commands);
  expectError(ErrorCode::invalidArgument, {"command buffer is nil"}, [&] { commands.commit(); });
  expectError(ErrorCode::invalidArgument, {"command buffer is nil"}, [&] { commands.waitUntilCompleted(); });
  expectError(ErrorCode::invalidArgument, {"command buffer is nil"}, [&] { commands.status(); });
  expectError(ErrorCode::invalidArgument, {"command buffer is nil"}, [&] { commands.explain(); });
  expectError(ErrorCode::invalidArgument, {"command queue is nil"}, [&] { queue.makeCommandBuffer(); });
  expectError(ErrorCode::invalidArgument, {"command queue is nil"}, [&] { queue.device(); });
  const Device device = Device::named("null");
  const Matrix matrix(device, kShape);
  expectError(ErrorCode::invalidArgument, {"command buffer is nil", "encoding MatrixNeuron"},
              [&] { MatrixNeuron(device).encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix}); });
}

TEST(CommandBufferStatusTest, HasNames) {
  EXPECT_EQ(name(CommandBufferStatus::notEnqueued), "notEnqueued");
  EXPECT_EQ(name(CommandBufferStatus::error), "error");
}

TEST(ExplanationTest, SaysWhatExecutesEachOperation) {
  const Device device = Device::named("cpu");
  const Matrix matrix(device, {.rows = 3, .columns = 5});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  MatrixNeuron kernel(device);
  kernel.label = "relu1";
  kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
  const auto explanations = commands.explain();
  ASSERT_EQ(explanations.size(), 1u);
  EXPECT_EQ(explanations[0].operation, "MatrixNeuron");
  EXPECT_EQ(explanations[0].label, "MatrixNeuron \"relu1\"");
  EXPECT_NE(explanations[0].shape.find('3'), std::string::npos) << explanations[0].shape;
  EXPECT_NE(explanations[0].shape.find("float32"), std::string::npos) << explanations[0].shape;
  EXPECT_FALSE(explanations[0].implementation.empty());
  for (const auto& refusal : explanations[0].refusals) EXPECT_FALSE(refusal.reason.empty());
}

}  // namespace
}  // namespace metalloid
