#pragma once

#include <metalloid/command_queue.hpp>
#include <metalloid/detail/handle.hpp>
#include <metalloid/error.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid {

namespace detail {
class CommandBufferImplementation;
}

/// Where a command buffer is between its making and its end. Source: MTLCommandBufferStatus.
enum class CommandBufferStatus {
  notEnqueued,  ///< Kernels are being encoded.
  enqueued,     ///< Reserved; a commit enqueues.
  committed,    ///< Waiting for its turn in the queue.
  scheduled,    ///< Executing.
  completed,    ///< Ended well.
  error,        ///< Ended with `CommandBuffer::error()`; work after the failure was not executed.
};

/// The status' name as it is spelled in C++.
std::string_view name(CommandBufferStatus status);

/// Metalloid extension: which implementation executes one recorded operation, and why not a faster one.
struct Explanation {
  /// An implementation that was passed over.
  struct Refusal {
    std::string implementation;  ///< Its name.
    std::string reason;          ///< Why it does not take this operation.
  };
  std::string operation;          ///< The operation, for instance "FullyConnected".
  std::string label;              ///< The kernel that recorded it: class name and label.
  std::string shape;              ///< Sizes and types.
  std::string implementation;     ///< The one that executes it.
  std::vector<Refusal> refusals;  ///< Faster ones that refused, fastest first.
};

/// Records work and executes it after `commit()`, asynchronously and in the order of encoding. Source:
/// MTLCommandBuffer.
///
/// Encoding never computes. A mistake in an encode throws there and records nothing; a failure during execution is
/// stored and stays: `status()` and `error()` show it and each `waitUntilCompleted()` throws it. An open command buffer
/// is used from one thread at a time.
class CommandBuffer : public detail::Handle {
 public:
  CommandBuffer() = default;  ///< Nil.

  /// The device of the queue.
  Device device() const;

  /// The queue that executes this command buffer.
  CommandQueue commandQueue() const;

  /// A name for messages.
  std::string label() const;
  void setLabel(std::string label);  ///< Sets the name for messages.

  /// Hands the recorded work to the queue and returns at once. @throws Error (invalidArgument) on a second commit,
  /// (device) when the device is lost.
  void commit();

  /// Blocks until the work and the completion handlers have ended (inside a completion handler: the work only).
  /// @throws Error the stored error when the work failed, each time; (invalidArgument) before `commit()`.
  void waitUntilCompleted() const;

  /// A function to call when the work has ended, well or not, on a thread of the library's own. What it throws is
  /// dropped. @throws Error (invalidArgument) after `commit()`.
  void addCompletedHandler(std::function<void(const CommandBuffer&)> handler);

  /// Where the command buffer is.
  CommandBufferStatus status() const;

  /// The failure that ended execution, if there was one.
  std::optional<Error> error() const;

  /// When execution began and ended, in seconds of a monotonic clock; 0 before.
  double gpuStartTime() const;
  double gpuEndTime() const;  ///< See `gpuStartTime()`.

  /// Metalloid extension: which implementation will execute each operation recorded so far.
  std::vector<Explanation> explain() const;

  /// Metalloid extension: the bytes of storage that this command buffer's temporaries share.
  std::size_t temporaryBytes() const;

 private:
  friend class CommandQueue;
  friend class detail::CommandBufferImplementation;
  explicit CommandBuffer(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

}  // namespace metalloid
