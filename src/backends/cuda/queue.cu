#include "backends/cuda/queue.hpp"

#include "backends/cuda/kernels.hpp"
#include "backends/cuda/memory.hpp"

#include <algorithm>
#include <variant>

namespace metalloid::cuda {
namespace {

using operations::Operation;

// Batches and temporaries take turns with a few buffers each; together they make the product of the two.
constexpr std::size_t kRecordings = 64;

/// Whether an operation reads values that only its execution can check.
bool isChecked(const Operation& operation) {
  if (std::holds_alternative<operations::MatrixSoftMaxCrossEntropy>(operation)) return true;
  if (const auto* sum = std::get_if<operations::MatrixSum>(&operation)) return static_cast<bool>(sum->offsets);
  if (const auto* copy = std::get_if<operations::MatrixCopy>(&operation)) {
    return copy->offsets || copy->rowPermute || copy->columnPermute;
  }
  return false;
}

}  // namespace

void Context::launchPointers(Extra extra, const void* kernel, dim3 grid, dim3 block, void** pointers) {
  if (mode == Mode::patch) {
    if (!isPatched) return;
    if (nextNode == nodes->size() || (*nodes)[nextNode].kernel != kernel) {
      isPatched = false;
      return;
    }
    cudaKernelNodeParams parameters{};
    parameters.func = const_cast<void*>(kernel);
    parameters.gridDim = grid;
    parameters.blockDim = block;
    parameters.sharedMemBytes = static_cast<unsigned>(extra.sharedBytes);
    parameters.kernelParams = pointers;
    const cudaGraphNode_t node = (*nodes)[nextNode++].node;
    if (!graph) return;
    isPatched = cudaGraphExecKernelNodeSetParams(graph, node, &parameters) == cudaSuccess;
    if (!isPatched) cudaGetLastError();
    return;
  }
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = block;
  configuration.dynamicSmemBytes = extra.sharedBytes;
  configuration.stream = stream;
  cudaLaunchAttribute attributes[2] = {};
  configuration.attrs = attributes;
  if (extra.isEarly && computeMajor >= 9) {
    cudaLaunchAttribute& early = attributes[configuration.numAttrs++];
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
  }
  if (extra.clusterBlocks > 0) {
    cudaLaunchAttribute& cluster = attributes[configuration.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = extra.clusterBlocks;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  }
  check(cudaLaunchKernelExC(&configuration, kernel, pointers), "A kernel did not start");
  if (mode != Mode::capture) return;
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* last = nullptr;
  const cudaGraphEdgeData* edges = nullptr;
  std::size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &last, &edges, &count), "A capture failed");
  if (count == 1) nodes->push_back({*last, kernel});
}

Queue::Queue(DeviceMemory& memory, const Context& context)
    : memory_(memory), context_(context), recordings_(kRecordings) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "A stream cannot be made");
  words_ = std::make_unique<DeviceBlock>(256 + Context::kCounters * sizeof(std::uint32_t));
  check(cudaMemsetAsync(words_->address(), 0, words_->bytes(), stream_), "Device memory cannot be cleared");
  check(cudaMallocHost(&pinned_, kInFlight * 64), "Pinned memory is not there");
  for (std::size_t i = 0; i < kInFlight; ++i) {
    check(cudaEventCreateWithFlags(&slots_[i].ended, cudaEventDisableTiming), "An event cannot be made");
    slots_[i].violation = pinned_ + i * 16;
  }
  products_ = makeProducts();
  context_.stream = stream_;
  context_.scratchMemory = &scratch_;
  context_.violation = reinterpret_cast<std::uint32_t*>(words_->address());
  context_.counters = reinterpret_cast<std::uint32_t*>(words_->address() + 256);
  context_.products = products_.get();
  check(cudaStreamSynchronize(stream_), "A stream failed");
}

Queue::~Queue() {
  cudaStreamSynchronize(stream_);
  for (const Slot& slot : slots_) cudaEventDestroy(slot.ended);
  cudaFreeHost(pinned_);
  cudaStreamDestroy(stream_);
}

void Queue::release() {
  // Kept for the next queue: streams and workspaces are slow to make. Graphs are of no use to another.
  recordings_.clear();
  {
    std::scoped_lock lock(mutex_);
    statistics_ = {};
  }
  memory_.keep(this);
}

QueueStatistics Queue::statistics() const {
  std::scoped_lock lock(mutex_);
  return statistics_;
}

Status Queue::submit(const Operation* const* operations, std::size_t count, Submission& submission) {
  {
    std::unique_lock lock(mutex_);
    slotFreed_.wait(lock, [this] { return submitted_ - ended_ < kInFlight; });
    submission.ticket = submitted_++;
    ++statistics_.submissions;
  }
  Slot& slot = slots_[submission.ticket % kInFlight];
  slot.isChecked = false;
  for (std::size_t i = 0; i < count; ++i) slot.isChecked = slot.isChecked || isChecked(*operations[i]);
  launching_ = kNone;
  const Status status = memory_.guarded([&] {
    memory_.use();
    memory_.waitFor(stream_);
    check(cudaMemsetAsync(context_.violation, 0xff, sizeof(std::uint32_t), stream_),
          "A device operation did not start");
    const Execution execution = recordings_.run({operations, count}, *this);
    std::scoped_lock lock(mutex_);
    if (execution == Execution::captured) ++statistics_.graphCaptures;
    if (execution != Execution::launched) ++statistics_.graphReplays;
  });
  if (!status.isOk()) submission.failed = launching_;
  const Status ending = memory_.guarded([&] {
    if (slot.isChecked) {
      check(cudaMemcpyAsync(slot.violation, context_.violation, sizeof(std::uint32_t), cudaMemcpyDeviceToHost, stream_),
            "A device operation did not start");
    }
    check(cudaEventRecord(slot.ended, stream_), "A device operation did not start");
  });
  return status.isOk() ? ending : status;
}

Status Queue::wait(std::uint64_t ticket, std::size_t& violated) {
  Slot& slot = slots_[ticket % kInFlight];
  violated = kNone;
  const Status status = memory_.guarded([&] {
    memory_.use();
    check(cudaEventSynchronize(slot.ended), "The work on the device failed");
    if (slot.isChecked && *slot.violation != Context::kNoViolation) violated = *slot.violation;
  });
  {
    std::scoped_lock lock(mutex_);
    ++ended_;
  }
  slotFreed_.notify_one();
  return status;
}

void Queue::launchGroup(Operations operations, std::span<const std::uint32_t> places) {
  scratch_.reset();
  launching_ = places.front();
  context_.operation = places.front();
  context_.nextNode = 0;
  if (places.size() == 1) {
    std::visit([this](const auto& o) { run(o, context_); }, *operations[places.front()]);
  } else {
    const Operation* together[kMostInGroup];
    for (std::size_t i = 0; i < places.size(); ++i) together[i] = operations[places[i]];
    runTogether({together, places.size()}, context_);
  }
  launching_ = kNone;
}

void Queue::launch(Operations operations) {
  context_.mode = Context::Mode::launch;
  const Groups groups = groupsOf(operations);
  for (std::size_t g = 0; g < groups.size(); ++g) launchGroup(operations, groups[g]);
}

std::unique_ptr<CapturedCommands> Queue::capture(Operations operations) {
  auto captured = std::make_unique<CapturedCommands>();
  captured->groups = groupsOf(operations);
  captured->nodes.resize(captured->groups.size());
  context_.mode = Context::Mode::capture;
  // Relaxed: other threads and our scratch memory may allocate meanwhile.
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "A capture did not start");
  try {
    for (std::size_t g = 0; g < captured->groups.size(); ++g) {
      context_.nodes = &captured->nodes[g];
      launchGroup(operations, captured->groups[g]);
    }
  } catch (...) {
    cudaStreamEndCapture(stream_, &captured->graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream_, &captured->graph), "A capture did not end");
  check(cudaGraphInstantiate(&captured->executable, captured->graph, 0),
        "A captured command buffer cannot be instantiated");
  return captured;
}

/// Twice over what differs: a graph that is of another make must stay as it is.
Patching Queue::patch(CapturedCommands& captured, const std::vector<Operation>& recorded, Operations operations) {
  if (groupsOf(operations) != captured.groups) return Patching::refused;
  context_.mode = Context::Mode::patch;
  for (const cudaGraphExec_t graph : {cudaGraphExec_t{}, captured.executable}) {
    context_.graph = graph;
    context_.isPatched = true;
    for (std::size_t g = 0; g < captured.groups.size(); ++g) {
      const auto places = captured.groups[g];
      if (std::all_of(places.begin(), places.end(), [&](auto i) { return recorded[i] == *operations[i]; })) continue;
      context_.nodes = &captured.nodes[g];
      launchGroup(operations, places);
      if (!context_.isPatched || context_.nextNode != captured.nodes[g].size())
        return graph ? Patching::broken : Patching::refused;
    }
  }
  return Patching::done;
}

void Queue::replay(CapturedCommands& captured) {
  check(cudaGraphLaunch(captured.executable, stream_), "A captured command buffer did not start");
}

}  // namespace metalloid::cuda
