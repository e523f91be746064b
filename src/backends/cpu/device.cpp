#include "backends/cpu/candidates.hpp"
#include "backends/cpu/simd_target.hpp"
#include "backends/cpu/thread_pool.hpp"
#include "backends/devices.hpp"
#include "core/format.hpp"
#include "core/host_device.hpp"
#include "operations/describe.hpp"

#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>

#include <sched.h>

namespace metalloid::cpu {
namespace {

/// METALLOID_THREADS, or else the processors that this process may run on.
std::size_t initialThreads() {
  if (const char* text = std::getenv("METALLOID_THREADS")) {
    char* end = nullptr;
    const unsigned long count = std::strtoul(text, &end, 10);
    if (end != text && *end == '\0' && count >= 1 && count <= 1024) return count;
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<std::size_t>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

class CpuDevice final : public detail::HostDevice {
 public:
  CpuDevice() : HostDevice("cpu"), pool_(std::make_unique<ThreadPool>(static_cast<unsigned>(initialThreads()))) {}

  std::string description() const override {
    return fmt::format("{}, {} threads", simdTargetName(), numberOfThreads());
  }

  std::size_t numberOfThreads() const override {
    std::scoped_lock lock(mutex_);
    return pool_->threads();
  }

  void setNumberOfThreads(std::size_t count) override {
    std::scoped_lock lock(mutex_);  // waits for the operation that is executing
    if (count != pool_->threads()) pool_ = std::make_unique<ThreadPool>(static_cast<unsigned>(count));
  }

  void execute(const operations::Operation& operation) override {
    // One operation at a time has all threads: queues share them by turns.
    std::scoped_lock lock(mutex_);
    scratch_.reset();
    Context context{*pool_, scratch_};
    std::visit([&]<class Operation>(const Operation& o) { choose(kCandidates<Operation>, o, context).run(o, context); },
               operation);
  }

  void explain(const operations::Operation& operation, Explanation& explanation) const override {
    std::scoped_lock lock(mutex_);
    Scratch unused;
    const Context context{*pool_, unused};
    explanation.shape = operations::describe(operation);
    std::visit(
        [&]<class Operation>(const Operation& o) { explainChoice(kCandidates<Operation>, o, context, explanation); },
        operation);
  }

 private:
  mutable std::mutex mutex_;
  std::unique_ptr<ThreadPool> pool_;
  Scratch scratch_;
};

}  // namespace

detail::Ref<detail::DeviceImplementation> makeDevice() { return detail::makeRef<CpuDevice>(); }

}  // namespace metalloid::cpu
