#pragma once

#include "backends/cuda/module.hpp"

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

namespace metalloid::cuda {

class Products;

/// The module's own exception; turned into a Status at the boundary.
struct Failure {
  Status status;

  Failure(Status::Code code, const char* what, const char* detail) {
    status.code = code;
    std::snprintf(status.message, sizeof(status.message), "%s: %s.", what, detail);
  }
};

/// Whether an error is one after which every call fails until the process ends.
constexpr bool losesDevice(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  if (losesDevice(error)) throw Failure(Status::Code::lost, what, cudaGetErrorString(error));
  cudaGetLastError();  // not sticky: the device is as good as before
  throw Failure(error == cudaErrorMemoryAllocation ? Status::Code::outOfMemory : Status::Code::device, what,
                cudaGetErrorString(error));
}

/// A function at the boundary: what is thrown inside comes out as a status.
template <class F>
Status statusOf(F f) {
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

/// Gives the driver back what pools and idle queues of all devices hold and nobody uses.
void releaseUnusedMemory();

/// Device memory that lives until the owner goes.
class DeviceBlock {
 public:
  explicit DeviceBlock(std::size_t bytes) : bytes_(bytes) {
    cudaError_t error = cudaMalloc(&address_, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      releaseUnusedMemory();
      error = cudaMalloc(&address_, bytes);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      char detail[64];
      std::snprintf(detail, sizeof(detail), "%zu bytes are asked for", bytes);
      throw Failure(Status::Code::outOfMemory, "Scratch memory is not there", detail);
    }
    check(error, "Scratch memory is not there");
  }
  ~DeviceBlock() { cudaFree(address_); }
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  std::byte* address() const { return static_cast<std::byte*>(address_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* address_ = nullptr;
  std::size_t bytes_;
};

/// Scratch memory of the operation that is being launched. Operations of a stream follow each other, so that all share
/// it; blocks stay where they are, because captured graphs hold their addresses.
class Scratch {
 public:
  void reset() { used_ = block_ = 0; }

  /// How much is taken; `release` gives back what was taken since.
  struct Mark {
    std::size_t block, used;
  };
  Mark mark() const { return {block_, used_}; }
  void release(const Mark& mark) {
    block_ = mark.block;
    used_ = mark.used;
  }

  std::byte* take(std::size_t bytes) {
    constexpr std::size_t kAlignment = 256, kSmallest = std::size_t{1} << 22;
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    while (block_ < blocks_.size() && blocks_[block_]->bytes() - used_ < bytes) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size())
      blocks_.push_back(std::make_unique<DeviceBlock>(bytes < kSmallest ? kSmallest : bytes));
    std::byte* const address = blocks_[block_]->address() + used_;
    used_ += bytes;
    return address;
  }

 private:
  std::vector<std::unique_ptr<DeviceBlock>> blocks_;
  std::size_t block_ = 0;
  std::size_t used_ = 0;
};

/// What candidates get: where to launch, and what there is to launch with.
///
/// Launching has three modes. `launch` starts kernels on the stream; `capture` does the same while the stream is being
/// captured and notes each kernel's node; `patch` gives the noted nodes of a captured graph the arguments of an
/// operation of the same shape with other addresses or factors, or, without a graph, only finds out whether they are
/// nodes of the same kernels.
class Context {
 public:
  enum class Mode { launch, capture, patch };
  static constexpr std::uint32_t kNoViolation = 0xffffffffu;
  static constexpr std::size_t kCounters = 16384;

  /// A kernel in a captured graph.
  struct Node {
    cudaGraphNode_t node;
    const void* kernel;
  };

  // Of the device.
  int multiprocessors = 0;
  int computeMajor = 0;
  std::size_t l2Bytes = 0;

  // Of the queue; nil when only asked for explanations.
  cudaStream_t stream = nullptr;
  Scratch* scratchMemory = nullptr;
  std::uint32_t* violation = nullptr;  // on the device: the first operation whose check failed, or kNoViolation
  std::uint32_t* counters = nullptr;   // on the device: kCounters zeros, which whoever uses them leaves as zeros
  Products* products = nullptr;

  // Of the operation that is being launched.
  Mode mode = Mode::launch;
  std::uint32_t operation = 0;         // its place in the command buffer
  std::vector<Node>* nodes = nullptr;  // captured, or to be patched
  std::size_t nextNode = 0;
  cudaGraphExec_t graph = nullptr;  // to be patched; nil: the nodes are only compared
  bool isPatched = true;            // false: the nodes do not fit, and the graph is of no use any more

  template <class T>
  T* scratch(std::size_t count) {
    return reinterpret_cast<T*>(scratchMemory->take(count * sizeof(T)));
  }

  template <class... Parameters, class... Arguments>
  void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, const Arguments&... arguments) {
    launchWith({}, kernel, grid, block, arguments...);
  }

  /// The same for kernels that begin with `waitForFormer`: the launch takes place while the former kernel still runs.
  template <class... Parameters, class... Arguments>
  void launchEarly(void (*kernel)(Parameters...), dim3 grid, dim3 block, const Arguments&... arguments) {
    launchWith({.isEarly = true}, kernel, grid, block, arguments...);
  }

  struct Extra {
    std::size_t sharedBytes = 0;
    bool isEarly = false;
    unsigned clusterBlocks = 0;  // 0: as the kernel says, or none
  };

  template <class... Parameters, class... Arguments>
  void launchWith(Extra extra, void (*kernel)(Parameters...), dim3 grid, dim3 block, const Arguments&... arguments) {
    std::tuple<std::remove_cv_t<Parameters>...> values(arguments...);
    std::apply(
        [&](auto&... value) {
          void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
          launchPointers(extra, reinterpret_cast<const void*>(kernel), grid, block, pointers);
        },
        values);
  }

  /// Fills device memory with a byte, as a kernel or memory node outside of patching.
  void fill(void* address, int value, std::size_t bytes) {
    if (mode != Mode::patch) check(cudaMemsetAsync(address, value, bytes, stream), "A device operation did not start");
  }

 private:
  void launchPointers(Extra extra, const void* kernel, dim3 grid, dim3 block, void** pointers);
};

/// Scratch memory that is taken in a scope is free again at its end: what is launched later runs later.
class ScratchMark {
 public:
  explicit ScratchMark(Context& context) : scratch_(*context.scratchMemory), mark_(scratch_.mark()) {}
  ~ScratchMark() { scratch_.release(mark_); }
  ScratchMark(const ScratchMark&) = delete;
  ScratchMark& operator=(const ScratchMark&) = delete;

 private:
  Scratch& scratch_;
  Scratch::Mark mark_;
};

}  // namespace metalloid::cuda
