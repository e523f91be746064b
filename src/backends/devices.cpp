#include "backends/devices.hpp"

#include "core/format.hpp"

#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <string>
#include <vector>

#if defined(METALLOID_CUDA)
#include "backends/cuda/device.hpp"
#endif

namespace metalloid {
namespace {

using Devices = std::vector<detail::Ref<detail::DeviceImplementation>>;

/// The best first. Devices live as long as the process: handles, threads and handlers may outlast every static object.
const Devices& devices() {
  static const auto* const list = [] {
    auto* const all = new Devices;
#if defined(METALLOID_CUDA)
    *all = cuda::makeDevices();
#endif
    for (const auto& device : {cpu::makeDevice(), reference::makeDevice(), null::makeDevice()}) all->push_back(device);
    return all;
  }();
  return *list;
}

}  // namespace

Device Device::systemDefault() { return devices().front()->handle(); }

std::vector<Device> Device::all() {
  std::vector<Device> handles;
  for (const auto& device : devices()) handles.push_back(device->handle());
  return handles;
}

Device Device::named(std::string_view name) {
  std::string names;
  for (const auto& device : devices()) {
    if (device->name() == name) return device->handle();
    names += (names.empty() ? "" : ", ") + device->name();
  }
  throw Error(ErrorCode::invalidArgument, fmt::format("There is no device \"{}\" here; there are: {}.", name, names));
}

}  // namespace metalloid
