#pragma once

#include "operations/operation.hpp"

#include <cstddef>
#include <cstdint>

/// The boundary between the library and the module that drives CUDA. The module needs no symbol of the library, and the
/// library none of CUDA: both sides know these classes only. No exception crosses; memory is given back by the side
/// that made it.
namespace metalloid::cuda {

/// Raised with every change of this file or of an operation.
inline constexpr std::uint32_t kModuleVersion = 2;

/// The name of the one function that the module exports; its type is `ModuleEntry`.
inline constexpr const char* kModuleEntry = "metalloidCudaModule";

/// How a call ended.
struct Status {
  enum class Code : int { ok, outOfMemory, device, lost } code = Code::ok;
  char message[384] = {};  // a full sentence unless ok

  bool isOk() const { return code == Code::ok; }
};

struct DeviceInformation {
  char name[256] = {};
  int computeMajor = 0;
  int computeMinor = 0;
  int multiprocessors = 0;
  std::size_t totalBytes = 0;
};

struct MemoryInformation {
  std::size_t freeBytes = 0;
  std::size_t largest[3] = {};  // the largest allocations that are held, in bytes; 0: fewer are held
};

/// What a queue has done, for tests and for the curious.
struct QueueStatistics {
  std::uint64_t submissions = 0;
  std::uint64_t graphReplays = 0;
  std::uint64_t graphCaptures = 0;
};

/// One stream of work. Calls come from one thread at a time, but `wait` may run beside `submit`.
class ModuleQueue {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};
  static constexpr std::size_t kInFlight = 8;  // submissions not yet waited for

  struct Submission {
    std::uint64_t ticket = 0;
    std::size_t failed = kNone;  // the operation whose launch failed
  };

  /// Starts the operations in order and returns at once. They must stay as they are until `wait` returns.
  virtual Status submit(const operations::Operation* const* operations, std::size_t count, Submission& submission) = 0;

  /// Blocks until a submission has ended; every one is waited for, in order. `violated`: the operation that found
  /// forbidden values in its operands and did nothing, or kNone.
  virtual Status wait(std::uint64_t ticket, std::size_t& violated) = 0;

  virtual QueueStatistics statistics() const = 0;

  /// All submissions have been waited for.
  virtual void release() = 0;

 protected:
  ~ModuleQueue() = default;
};

/// A device is lost when a kernel faults or the hardware fails: the driver lets this process do nothing more with it.
/// All calls then end in `Status::Code::lost` and the first cause; what they would give back goes with the process.
class ModuleDevice {
 public:
  virtual DeviceInformation information() const = 0;

  /// Whether it is lost, as far as any call has noticed.
  virtual Status health() const = 0;

  // Memory, in the order of these calls and before whatever is submitted later; from any thread.

  virtual Status allocate(std::size_t bytes, bool zeroed, std::byte*& address) = 0;
  virtual void free(std::byte* address) = 0;
  virtual Status copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                              std::size_t rowLength, std::size_t rows) = 0;
  virtual Status copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                            std::size_t rowLength, std::size_t rows) = 0;
  virtual MemoryInformation memory() = 0;

  virtual Status makeQueue(ModuleQueue*& queue) = 0;

  /// The implementation that will execute an operation; those passed over go to `refusal` with their reasons.
  virtual const char* explain(const operations::Operation& operation, void* context,
                              void (*refusal)(void* context, const char* implementation, const char* reason)) const = 0;

 protected:
  ~ModuleDevice() = default;
};

class Module {
 public:
  virtual int numberOfDevices() const = 0;
  /// Devices live as long as the process.
  virtual Status openDevice(int index, ModuleDevice*& device) = 0;

 protected:
  ~Module() = default;
};

/// @returns nullptr, with the reason in `status`, when the versions differ or there is no driver or device.
using ModuleEntry = Module* (*)(std::uint32_t version, Status* status);

}  // namespace metalloid::cuda
