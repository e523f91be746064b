#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace metalloid {

/// How a test names a device that it failed on.
inline void PrintTo(const Device& device, std::ostream* stream) { *stream << (device ? device.name() : "nil"); }

}  // namespace metalloid

namespace metalloid::testing {

/// Every device whose results mean something: all but `null`. A back end that joins `Device::all()` joins the tests.
inline std::vector<Device> computingDevices() {
  std::vector<Device> devices;
  for (const Device& device : Device::all()) {
    if (device.name() != "null") devices.push_back(device);
  }
  return devices;
}

/// The device's name where only letters, digits and underscores may stand.
inline std::string identifier(const Device& device) {
  std::string name = device.name();
  for (char& c : name) {
    if (c == ':') c = '_';
  }
  return name;
}

/// Encodes, commits and waits; throws what the work threw.
inline void execute(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  encode(commands);
  commands.commit();
  commands.waitUntilCompleted();
}

/// Restores the number of threads of a device at the end of a scope.
class ThreadsOf {
 public:
  explicit ThreadsOf(const Device& device) : device_(device), former_(device.numberOfThreads()) {}
  ~ThreadsOf() { device_.setNumberOfThreads(former_); }
  ThreadsOf(const ThreadsOf&) = delete;
  ThreadsOf& operator=(const ThreadsOf&) = delete;

 private:
  Device device_;
  std::size_t former_;
};

}  // namespace metalloid::testing
