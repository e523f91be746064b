#pragma once

#include "backends/cuda/context.hpp"
#include "backends/cuda/products.hpp"

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace metalloid::cuda {

class DeviceMemory;

/// A stream with its scratch memory and its captured graphs.
///
/// The first command buffer of a kind is launched operation by operation; the second equal one is captured into a graph
/// and from then on replayed. Operations that differ only in addresses or factors, as the results of a step that go
/// to another place each time, are patched into the graph if they are made of our own kernels. Other operations at
/// other addresses make another recording, so that work that takes turns with a few buffers has a graph for each.
class Queue final : public ModuleQueue {
 public:
  /// `context` holds what belongs to the device.
  Queue(DeviceMemory& memory, const Context& context);
  ~Queue();

  Status submit(const operations::Operation* const* operations, std::size_t count, Submission& submission) override;
  Status wait(std::uint64_t ticket, std::size_t& violated) override;
  QueueStatistics statistics() const override;
  void release() override;

 private:
  /// One command buffer that has been seen, and its graph once it has been seen twice.
  struct Recording {
    std::vector<operations::Operation> operations;
    std::vector<std::vector<Context::Node>> nodes;  // of each operation
    cudaGraph_t captured = nullptr;                 // whose nodes those are: they name what shall be patched in `graph`
    cudaGraphExec_t graph = nullptr;

    Recording() = default;
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    ~Recording() {
      if (graph) cudaGraphExecDestroy(graph);
      if (captured) cudaGraphDestroy(captured);
    }
  };

  /// What ends a submission.
  struct Slot {
    cudaEvent_t ended = nullptr;
    std::uint32_t* violation = nullptr;  // pinned host memory
    bool isChecked = false;
  };

  using Recordings = std::list<Recording>;

  void launchAll(const operations::Operation* const* operations, std::size_t count, Submission& submission);
  void launchOne(const operations::Operation& operation, std::size_t place);
  Recordings::iterator find(const operations::Operation* const* operations, std::size_t count);
  bool patch(Recording& recording, const operations::Operation* const* operations);
  void capture(Recording& recording, Submission& submission);

  DeviceMemory& memory_;
  Context context_;
  cudaStream_t stream_ = nullptr;
  Scratch scratch_;
  std::shared_ptr<Products> products_;
  std::unique_ptr<DeviceBlock> words_;  // the violation word, then the counters
  std::uint32_t* pinned_ = nullptr;
  Slot slots_[kInFlight];
  Recordings recordings_;  // the one used last is in front

  mutable std::mutex mutex_;
  std::condition_variable slotFreed_;
  std::uint64_t submitted_ = 0;
  std::uint64_t ended_ = 0;
  QueueStatistics statistics_;
};

}  // namespace metalloid::cuda
