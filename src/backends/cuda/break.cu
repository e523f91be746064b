#include "backends/cuda/memory.hpp"
#include "backends/cuda/queue.hpp"

namespace metalloid::cuda {
namespace {

/// Faults after a while, as a kernel does that reads where nothing is.
__global__ void faultyKernel(unsigned long long nanoseconds) {
  const auto now = [] {
    unsigned long long time;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
    return time;
  };
  for (const unsigned long long begin = now(); now() - begin < nanoseconds;) __nanosleep(1000);
  asm volatile("trap;");
}

}  // namespace

/// For tests only: lets a kernel fault on a queue's stream after some milliseconds. What is submitted in the meantime
/// is in flight when the device is lost. @returns whether it has started.
extern "C" __attribute__((visibility("default"))) bool metalloidCudaBreak(ModuleQueue* queue, unsigned milliseconds) {
  auto& broken = static_cast<Queue&>(*queue);
  const Status status = broken.memory().guarded([&] {
    broken.memory().use();
    faultyKernel<<<1, 1, 0, broken.stream()>>>(milliseconds * 1000000ull);
    check(cudaGetLastError(), "A kernel did not start");
  });
  return status.isOk();
}

}  // namespace metalloid::cuda
