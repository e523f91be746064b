#pragma once

#include <cstdint>

namespace metalloid {

/// A set of wishes about how a kernel runs. Combine with `|`. Source: MPSKernelOptions.
enum class KernelOptions : std::uint64_t {
  none = 0,                         ///< The defaults.
  skipAPIValidation = 1u << 0,      ///< Accepted, and changes nothing: checks are cheap.
  allowReducedPrecision = 1u << 1,  ///< Permission, never a demand, for products in less than the storage's precision.
  disableInternalTiling = 1u << 2,  ///< Accepted; has no effect on results.
  insertDebugGroups = 1u << 3,      ///< Accepted; for devices with a profiler that takes labels. No such device yet.
  /// Writes to stderr which implementation runs each operation, and why. The environment variables METALLOID_LOG and
  /// MPS_LOG_INFO, set to anything, switch it on for every kernel.
  verbose = 1u << 4,
};

/// The union of two sets.
constexpr KernelOptions operator|(KernelOptions a, KernelOptions b) {
  return static_cast<KernelOptions>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}

/// Whether `set` holds every member of `options`.
constexpr bool contains(KernelOptions set, KernelOptions options) {
  return (static_cast<std::uint64_t>(set) & static_cast<std::uint64_t>(options)) == static_cast<std::uint64_t>(options);
}

}  // namespace metalloid
