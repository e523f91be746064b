#include "backends/cuda/cuda_test_device.hpp"
#include "backends/cuda/executor.hpp"
#include "backends/cuda/module_loader.hpp"
#include "backends/cuda/work.hpp"
#include "core/command_buffer_implementation.hpp"

#include <metalloid/buffer.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <dlfcn.h>

// A program of its own, and one test: nothing that comes after it in the process could use the device.

namespace metalloid {
namespace {

using testing::CudaTest;
using testing::expectSays;
using testing::filled;
using testing::someWork;
using testing::textOf;

/// Lets a kernel fault on a queue after some milliseconds.
bool breakLater(const CommandQueue& queue, unsigned milliseconds) {
  // The module says where it is by the address of something in it.
  Dl_info module{};
  if (dladdr(*reinterpret_cast<void**>(cuda::loadModule().module), &module) == 0) return false;
  void* const library = dlopen(module.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  using Function = bool (*)(cuda::ModuleQueue*, unsigned);
  const auto function = library ? reinterpret_cast<Function>(dlsym(library, "metalloidCudaBreak")) : nullptr;
  auto& executor = static_cast<cuda::CudaExecutor&>(detail::implementation(queue).executor());
  return function && function(&executor.queue(), milliseconds);
}

TEST_F(CudaTest, ALostDeviceEndsInErrorsAndTheProcessGoesOn) {
  const Device host = Device::named("cpu");
  const std::vector<float> expected = someWork(host);
  (void)someWork(device);

  constexpr const char* kLost = "cuda:0 is lost";
  std::optional<Matrix> x = filled(device, 4, 4, 1), y = Matrix(device, {.rows = 4, .columns = 4});
  y->write(std::vector<float>(16, 0));
  std::optional<CommandQueue> queue = device.makeCommandQueue();
  std::optional<MatrixNeuron> neuron(device);
  std::vector<CommandBuffer> inFlight;
  for (int i = 0; i < 12; ++i) {  // more than a queue has slots
    CommandBuffer& commands = inFlight.emplace_back(queue->makeCommandBuffer());
    commands.setLabel("in flight " + std::to_string(i));
    const TemporaryMatrix between(commands, {.rows = 4, .columns = 4});
    neuron->encode(commands, {.inputMatrix = *x, .resultMatrix = between});
    neuron->encode(commands, {.inputMatrix = between, .resultMatrix = *y});
  }
  CommandBuffer open = queue->makeCommandBuffer();
  neuron->encode(open, {.inputMatrix = *x, .resultMatrix = *y});
  ASSERT_TRUE(breakLater(*queue, 1000));
  for (CommandBuffer& commands : inFlight) commands.commit();

  for (std::size_t i = 0; i < inFlight.size(); ++i) {
    const std::string text = textOf(ErrorCode::device, [&] { inFlight[i].waitUntilCompleted(); });
    expectSays(text, kLost);
    expectSays(text, "in flight " + std::to_string(i));
    EXPECT_EQ(inFlight[i].status(), CommandBufferStatus::error);
    ASSERT_TRUE(inFlight[i].error());
  }

  const auto isLost = [&](const char* what, const auto& call) {
    SCOPED_TRACE(what);
    expectSays(textOf(ErrorCode::device, call), kLost);
  };
  isLost("allocating", [&] { (void)Matrix(device, {.rows = 3, .columns = 3}).read<float>(); });
  isLost("writing", [&] { x->write(std::vector<float>(16, 1)); });
  isLost("reading", [&] { (void)y->read<float>(); });
  isLost("a queue", [&] { (void)device.makeCommandQueue(); });
  isLost("committing", [&] { open.commit(); });
  EXPECT_EQ(open.status(), CommandBufferStatus::notEnqueued);
  isLost("committing again", [&] { open.commit(); });
  isLost("a temporary", [&] {
    CommandBuffer commands = queue->makeCommandBuffer();
    // Larger than what the cache has.
    const TemporaryMatrix vast(commands, {.rows = 4096, .columns = 4096});
    neuron->encode(commands, {.inputMatrix = Matrix(device, {.rows = 4096, .columns = 4096}), .resultMatrix = vast});
  });

  // Whatever is left goes without a word.
  EXPECT_NO_THROW({
    open = CommandBuffer();
    inFlight.clear();
    neuron.reset();
    x.reset();
    y.reset();
    queue.reset();
  });
  isLost("a queue, still", [&] { (void)device.makeCommandQueue(); });
  EXPECT_FALSE(device.description().empty());
  EXPECT_EQ(someWork(host), expected);
}

}  // namespace
}  // namespace metalloid
