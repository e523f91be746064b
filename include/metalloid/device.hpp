#pragma once

#include <metalloid/detail/handle.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid {

class Buffer;
class CommandQueue;

namespace detail {
class DeviceImplementation;
}

/// Something that computes: a back end and the hardware it drives.
///
/// | name        | computes with                                                             |
/// |-------------|---------------------------------------------------------------------------|
/// | `cpu`       | SIMD chosen at run time and threads                                       |
/// | `reference` | double accumulators and plain loops: the oracle                           |
/// | `null`      | nothing at all: every argument is checked, results are left as they are   |
///
/// Source: MTLDevice.
class Device : public detail::Handle {
 public:
  Device() = default;  ///< Nil.

  /// The best device there is (MTLCreateSystemDefaultDevice), the first of `all()`; in this version always `cpu`.
  static Device systemDefault();

  /// Every device, the best first (MTLCopyAllDevices).
  static std::vector<Device> all();

  /// The device of that name. @throws Error (invalidArgument) naming the devices there are.
  static Device named(std::string_view name);

  /// The name given to `named`.
  const std::string& name() const;

  /// The hardware and how it is used, for instance "AVX-512, 4 threads".
  std::string description() const;

  /// A queue that executes its command buffers in the order of their commits.
  CommandQueue makeCommandQueue() const;

  /// A buffer of `length` bytes, all zero.
  Buffer makeBuffer(std::size_t length) const;

  /// A buffer that holds a copy of `length` bytes from `bytes`.
  Buffer makeBuffer(const void* bytes, std::size_t length) const;

  /// Metalloid extension: the number of threads that `cpu` computes with; 1 for devices without threads of their own.
  std::size_t numberOfThreads() const;

  /// Metalloid extension: lets `cpu` compute with `count` threads from now on; results keep their bits. The initial
  /// value is the environment variable METALLOID_THREADS or else the number of processors this process may use. No
  /// effect on other devices. @throws Error (invalidArgument) for 0.
  void setNumberOfThreads(std::size_t count) const;

  /// Metalloid extension: the bytes this process holds on the device now, cached storage of temporaries included.
  std::size_t allocatedBytes() const;

  /// Metalloid extension: the largest value `allocatedBytes()` has had.
  std::size_t peakAllocatedBytes() const;

 private:
  friend class detail::DeviceImplementation;
  explicit Device(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

}  // namespace metalloid
