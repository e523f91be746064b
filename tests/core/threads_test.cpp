// Many threads at once. What these tests prove they prove best under the thread sanitizer.

#include "support/devices.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <atomic>
#include <barrier>
#include <functional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

constexpr int kThreads = 8;

/// Runs `body(index)` on several threads that start together.
void onManyThreads(const std::function<void(int)>& body) {
  std::barrier start(kThreads);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      body(i);
    });
  }
}

class ThreadsTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
};

TEST_P(ThreadsTest, EachWithItsOwnQueue) {
  onManyThreads([&](int index) {
    const CommandQueue queue = device().makeCommandQueue();
    const Matrix matrix(device(), {.rows = 65, .columns = 33});
    MatrixNeuron kernel(device());
    kernel.setNeuronType(CNNNeuronType::linear, 1, static_cast<float>(index));
    for (int round = 0; round < 10; ++round) {
      CommandBuffer commands = queue.makeCommandBuffer();
      const TemporaryMatrix temporary(commands, {.rows = 65, .columns = 33});
      kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = temporary});
      MatrixNeuron(device()).encode(commands, {.inputMatrix = temporary, .resultMatrix = matrix});
      commands.commit();
    }
    EXPECT_EQ(matrix.read<float>(), std::vector<float>(65 * 33, static_cast<float>(10 * index)));
  });
}

TEST_P(ThreadsTest, AllWithOneQueueAndOneBuffer) {
  const CommandQueue queue = device().makeCommandQueue();
  const Matrix matrix(device(), {.rows = 16, .columns = 16});
  onManyThreads([&](int) {
    MatrixNeuron kernel(device());
    kernel.setNeuronType(CNNNeuronType::linear, 1, 1);
    for (int round = 0; round < 10; ++round) {
      CommandBuffer commands = queue.makeCommandBuffer();
      kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
      commands.commit();
      if (round % 3 == 0) commands.waitUntilCompleted();
    }
  });
  // Encodes of one queue execute one after another, so no increment is lost.
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(256, 10 * kThreads));
}

TEST_P(ThreadsTest, WaitForOneCommandBuffer) {
  const Matrix matrix(device(), {.rows = 100, .columns = 100});
  CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();
  MatrixNeuron kernel(device());
  kernel.setNeuronType(CNNNeuronType::linear, 1, 1);
  for (int i = 0; i < 20; ++i) kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
  std::atomic<int> handled = 0;
  commands.addCompletedHandler([&](auto&) { ++handled; });
  commands.commit();
  onManyThreads([&](int) {
    commands.waitUntilCompleted();
    EXPECT_EQ(handled, 1);
    EXPECT_EQ(commands.status(), CommandBufferStatus::completed);
    EXPECT_EQ(matrix.read<float>(), std::vector<float>(10000, 20));
  });
}

TEST_P(ThreadsTest, ReadAndWriteOneBufferWhileWorkRuns) {
  const CommandQueue queue = device().makeCommandQueue();
  const Matrix matrix(device(), {.rows = 32, .columns = 32});
  const Buffer notes = device().makeBuffer(kThreads);
  onManyThreads([&](int index) {
    MatrixNeuron kernel(device());
    for (int round = 0; round < 10; ++round) {
      CommandBuffer commands = queue.makeCommandBuffer();
      kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
      commands.commit();
      const std::byte note{static_cast<unsigned char>(round)};
      notes.write(std::span(&note, 1), static_cast<std::size_t>(index));
      EXPECT_EQ(notes.read(static_cast<std::size_t>(index), 1).front(), note);
      notes.setLabel("notes");
      EXPECT_EQ(notes.label(), "notes");
    }
  });
  EXPECT_EQ(matrix.read<float>(), std::vector<float>(1024, 0));
}

TEST_P(ThreadsTest, CopyKernelsAndHandles) {
  MatrixNeuron kernel(device());
  kernel.setNeuronToPReLU(std::vector<float>(8, 0.5f));
  const Matrix input(device(), {.rows = 1, .columns = 8});
  input.write(std::vector<float>(8, -1));
  onManyThreads([&](int) {
    for (int round = 0; round < 20; ++round) {
      const MatrixNeuron copy = kernel.copy();
      const Matrix same = input, result(device(), {.rows = 1, .columns = 8});
      testing::execute(device(), [&](CommandBuffer& commands) {
        copy.encode(commands, {.inputMatrix = same, .resultMatrix = result});
      });
      EXPECT_EQ(result.read<float>(), std::vector<float>(8, -0.5f));
    }
  });
}

TEST_P(ThreadsTest, ChangeTheNumberOfThreadsWhileWorkRuns) {
  const testing::ThreadsOf restored(device());
  std::atomic<bool> isDone = false;
  std::jthread changing([&] {
    for (std::size_t count = 1; !isDone; count = count % 4 + 1) device().setNumberOfThreads(count);
  });
  const MatrixDescriptor shape{.rows = 96, .columns = 96};
  const Matrix x(device(), shape), w(device(), shape);
  std::vector<float> values(96 * 96);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 97) / 7;
  x.write(values);
  w.write(values);
  std::vector<float> first;
  for (int round = 0; round < 20; ++round) {
    const Matrix y(device(), shape);
    testing::execute(device(), [&](CommandBuffer& commands) {
      MatrixFullyConnected(device()).encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = y});
    });
    if (round == 0) first = y.read<float>();
    EXPECT_EQ(y.read<float>(), first);
  }
  isDone = true;
}

INSTANTIATE_TEST_SUITE_P(Devices, ThreadsTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
