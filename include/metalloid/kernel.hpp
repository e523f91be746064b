#pragma once

#include <metalloid/device.hpp>
#include <metalloid/kernel_options.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

namespace metalloid {

class Archiver;
class Unarchiver;

namespace detail {
class SettingsVisitor;
}

/// What every kernel has. Kernels are values: copying one copies its settings, and an encode takes a snapshot of them.
///
/// Kernels compare equal when class, device and every setting are equal; they hash accordingly.
/// A kernel is used from one thread at a time; copies are independent. Source: MPSKernel.
class Kernel {
 public:
  virtual ~Kernel() = default;

  std::string label;                            ///< A name for messages. Default empty.
  KernelOptions options = KernelOptions::none;  ///< Default none.

  /// The device of all this kernel's work.
  const Device& device() const { return device_; }

  /// Archives every setting.
  virtual void encode(Archiver& archiver) const;

  /// Class name and settings on one line, for debugging.
  std::string description() const;

  /// The class name and, where there is one, the label: `MatrixNeuron "fc1"`.
  std::string name() const;

  /// Equality of class, device and every setting.
  friend bool operator==(const Kernel& a, const Kernel& b) { return a.isEqual(b); }

  /// A hash that agrees with `==`.
  std::size_t hash() const;

  /// Writes `description()`.
  friend std::ostream& operator<<(std::ostream& stream, const Kernel& kernel);

 protected:
  /// @throws Error (invalidArgument) for a nil device.
  Kernel(const Device& device, std::string_view className);
  Kernel(const Kernel&) = default;
  Kernel(Kernel&&) = default;
  Kernel& operator=(const Kernel&) = default;
  Kernel& operator=(Kernel&&) = default;

  /// Names every setting once; archives, equality, hash and description all come from this list. Overrides call their
  /// base first.
  virtual void visitSettings(detail::SettingsVisitor& visitor);

  /// Reads every setting from an archive. @throws Error (malformedFile) for an archive of another class or with
  /// settings that the class does not allow.
  void decode(Unarchiver& coder);

  /// A copy of `kernel` for `device`; nil means the kernel's own. The body of every `copy(device)`.
  template <class K>
  static K copyOf(const K& kernel, const Device& device) {
    K result = kernel;
    if (device) result.setDevice(device);
    return result;
  }

  /// Moves the settings to another device; overridden by kernels whose settings live on one.
  virtual void setDevice(const Device& device) { device_ = device; }

 private:
  bool isEqual(const Kernel& other) const;
  void visitConst(detail::SettingsVisitor& visitor) const;

  Device device_;
  std::string_view className_;  // of static storage
};

}  // namespace metalloid

/// Kernels hash by class, device and settings, as they compare.
template <std::derived_from<metalloid::Kernel> K>
struct std::hash<K> {
  /// `kernel.hash()`.
  std::size_t operator()(const K& kernel) const { return kernel.hash(); }
};
