#pragma once

#include "backends/cuda/context.hpp"
#include "backends/cuda/groups.hpp"
#include "backends/cuda/products.hpp"
#include "backends/cuda/recordings.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace metalloid::cuda {

class DeviceMemory;

/// A captured command buffer: its graph, and the nodes of each group of operations that was launched together.
struct CapturedCommands {
  CapturedCommands() = default;
  CapturedCommands(const CapturedCommands&) = delete;
  CapturedCommands& operator=(const CapturedCommands&) = delete;
  ~CapturedCommands() {
    if (executable) cudaGraphExecDestroy(executable);
    if (graph) cudaGraphDestroy(graph);
  }

  Groups groups;
  std::vector<std::vector<Context::Node>> nodes;  // of each group
  cudaGraph_t graph = nullptr;                    // whose nodes those are: they name what shall be patched
  cudaGraphExec_t executable = nullptr;
};

/// A stream with its scratch memory and its captured graphs.
///
/// What comes again is replayed, as Recordings say. Operations that differ only in addresses or factors, as the results
/// of a step that go to another place each time, are patched into the graph if they are made of our own kernels. Other
/// operations at other addresses make another recording, so that work that takes turns with a few buffers has a graph
/// for each.
class Queue final : public ModuleQueue {
 public:
  /// `context` holds what belongs to the device.
  Queue(DeviceMemory& memory, const Context& context);
  ~Queue();

  Status submit(const operations::Operation* const* operations, std::size_t count, Submission& submission) override;
  Status wait(std::uint64_t ticket, std::size_t& violated) override;
  QueueStatistics statistics() const override;
  void release() override;

  // What Recordings ask for.

  void launch(Operations operations);
  std::unique_ptr<CapturedCommands> capture(Operations operations);
  Patching patch(CapturedCommands& captured, const std::vector<operations::Operation>& recorded, Operations operations);
  void replay(CapturedCommands& captured);

  cudaStream_t stream() const { return stream_; }
  DeviceMemory& memory() const { return memory_; }

 private:
  /// What ends a submission.
  struct Slot {
    cudaEvent_t ended = nullptr;
    std::uint32_t* violation = nullptr;  // pinned host memory
    bool isChecked = false;
  };

  void launchGroup(Operations operations, std::span<const std::uint32_t> places);

  DeviceMemory& memory_;
  Context context_;
  cudaStream_t stream_ = nullptr;
  Scratch scratch_;
  std::shared_ptr<Products> products_;
  std::unique_ptr<DeviceBlock> words_;  // the violation word, then the counters
  std::uint32_t* pinned_ = nullptr;
  Slot slots_[kInFlight];
  Recordings<CapturedCommands> recordings_;
  std::size_t launching_ = kNone;  // the operation under way

  mutable std::mutex mutex_;
  std::condition_variable slotFreed_;
  std::uint64_t submitted_ = 0;
  std::uint64_t ended_ = 0;
  QueueStatistics statistics_;
};

}  // namespace metalloid::cuda
