#include "backends/cuda/queue.hpp"

#include "backends/cuda/kernels.hpp"
#include "backends/cuda/memory.hpp"

#include <exception>
#include <iterator>
#include <type_traits>
#include <utility>
#include <variant>

namespace metalloid::cuda {
namespace {

using operations::Operation;

constexpr std::size_t kRecordings = 16;

/// A function at the boundary: what is thrown inside comes out as a status.
template <class F>
Status guarded(F f) {
  try {
    f();
    return {};
  } catch (const Failure& failure) {
    return failure.status;
  } catch (const std::bad_alloc&) {
    return Failure(Status::Code::outOfMemory, "Host memory is not there", "the module asked for it").status;
  } catch (const std::exception& exception) {
    return Failure(Status::Code::device, "The CUDA module failed", exception.what()).status;
  }
}

/// Whether an operation reads values that only its execution can check.
bool isChecked(const Operation& operation) {
  if (std::holds_alternative<operations::MatrixSoftMaxCrossEntropy>(operation)) return true;
  if (const auto* sum = std::get_if<operations::MatrixSum>(&operation)) return static_cast<bool>(sum->offsets);
  if (const auto* copy = std::get_if<operations::MatrixCopy>(&operation)) {
    return copy->offsets || copy->rowPermute || copy->columnPermute;
  }
  return false;
}

template <class O, class... Others>
constexpr bool isOneOf = (std::is_same_v<O, Others> || ...);

/// Whether all of an operation's launches are of our own kernels, whose arguments can be changed in a graph. Those of
/// libraries cannot, nor can the memory copies and fills that are nodes of their own.
bool isPatchable(const Operation& operation) {
  return std::visit(
      []<class O>(const O&) {
        using namespace operations;
        return !isOneOf<O, MatrixFullyConnected, MatrixFullyConnectedGradientForData,
                        MatrixFullyConnectedGradientForWeightsAndBias, MatrixMultiplication, MatrixCopy,
                        MatrixBatchNormalization, MatrixBatchNormalizationGradient, CNNConvolution,
                        CNNConvolutionGradientForData, CNNConvolutionGradientForWeightsAndBias>;
      },
      operation);
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
    isPatched = cudaGraphExecKernelNodeSetParams(graph, (*nodes)[nextNode++].node, &parameters) == cudaSuccess;
    if (!isPatched) cudaGetLastError();
    return;
  }
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = block;
  configuration.dynamicSmemBytes = extra.sharedBytes;
  configuration.stream = stream;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  configuration.attrs = &early;
  configuration.numAttrs = extra.isEarly && computeMajor >= 9 ? 1 : 0;
  check(cudaLaunchKernelExC(&configuration, kernel, pointers), "A kernel did not start");
  if (mode != Mode::capture) return;
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* last = nullptr;
  const cudaGraphEdgeData* edges = nullptr;
  std::size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &last, &edges, &count), "A capture failed");
  if (count == 1) nodes->push_back({*last, kernel});
}

Queue::Queue(DeviceMemory& memory, const Context& context) : memory_(memory), context_(context) {
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
  const Status status = guarded([&] {
    memory_.use();
    memory_.waitFor(stream_);
    check(cudaMemsetAsync(context_.violation, 0xff, sizeof(std::uint32_t), stream_),
          "A device operation did not start");
    launchAll(operations, count, submission);
  });
  const Status ending = guarded([&] {
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
  const Status status = guarded([&] {
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

void Queue::launchOne(const Operation& operation, std::size_t place) {
  scratch_.reset();
  context_.operation = static_cast<std::uint32_t>(place);
  context_.nextNode = 0;
  std::visit([this](const auto& o) { run(o, context_); }, operation);
}

void Queue::launchAll(const Operation* const* operations, std::size_t count, Submission& submission) {
  const auto found = find(operations, count);
  if (found != recordings_.end()) {
    recordings_.splice(recordings_.begin(), recordings_, found);
    Recording& recording = recordings_.front();
    if (!recording.graph || patch(recording, operations)) {
      for (std::size_t i = 0; i < count; ++i) recording.operations[i] = *operations[i];
      if (!recording.graph) capture(recording, submission);
      check(cudaGraphLaunch(recording.graph, stream_), "A captured command buffer did not start");
      ++statistics_.graphReplays;
      return;
    }
    recordings_.pop_front();  // half patched
  }
  context_.mode = Context::Mode::launch;
  for (std::size_t i = 0; i < count; ++i) {
    submission.failed = i;
    launchOne(*operations[i], i);
  }
  submission.failed = kNone;
  if (count < 2) return;  // a graph of one operation costs what its launch does
  Recording& recording = recordings_.emplace_front();
  for (std::size_t i = 0; i < count; ++i) recording.operations.push_back(*operations[i]);
  if (recordings_.size() > kRecordings) recordings_.pop_back();
}

Queue::Recordings::iterator Queue::find(const Operation* const* operations, std::size_t count) {
  const auto equals = [&](const Recording& recording, bool exactly) {
    if (recording.operations.size() != count) return false;
    for (std::size_t i = 0; i < count; ++i) {
      const Operation& operation = *operations[i];
      if (recording.operations[i].index() != operation.index()) return false;
      if ((exactly || !isPatchable(operation)) && !(recording.operations[i] == operation)) return false;
    }
    return true;
  };
  const auto same = std::find_if(recordings_.begin(), recordings_.end(),
                                 [&](const Recording& recording) { return equals(recording, true); });
  if (same != recordings_.end()) return same;
  return std::find_if(recordings_.begin(), recordings_.end(),
                      [&](const Recording& recording) { return equals(recording, false); });
}

bool Queue::patch(Recording& recording, const Operation* const* operations) {
  context_.mode = Context::Mode::patch;
  context_.graph = recording.graph;
  context_.isPatched = true;
  for (std::size_t i = 0; i < recording.operations.size(); ++i) {
    if (recording.operations[i] == *operations[i]) continue;
    context_.nodes = &recording.nodes[i];
    launchOne(*operations[i], i);
    if (!context_.isPatched || context_.nextNode != recording.nodes[i].size()) return false;
  }
  return true;
}

void Queue::capture(Recording& recording, Submission& submission) {
  context_.mode = Context::Mode::capture;
  recording.nodes.resize(recording.operations.size());
  // Relaxed: other threads and our scratch memory may allocate meanwhile.
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "A capture did not start");
  try {
    for (std::size_t i = 0; i < recording.operations.size(); ++i) {
      submission.failed = i;
      recording.nodes[i].clear();
      context_.nodes = &recording.nodes[i];
      launchOne(recording.operations[i], i);
    }
  } catch (...) {
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream_, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  submission.failed = kNone;
  if (recording.captured) cudaGraphDestroy(std::exchange(recording.captured, nullptr));  // of a failed attempt
  check(cudaStreamEndCapture(stream_, &recording.captured), "A capture did not end");
  check(cudaGraphInstantiate(&recording.graph, recording.captured, 0),
        "A captured command buffer cannot be instantiated");
  ++statistics_.graphCaptures;
}

}  // namespace metalloid::cuda
