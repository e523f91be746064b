#pragma once

#include "core/device_implementation.hpp"

#include <vector>

namespace metalloid::cuda {

/// The CUDA devices there are, best first; none when the module, a driver or a GPU is missing, which METALLOID_LOG
/// explains in one line.
std::vector<detail::Ref<detail::DeviceImplementation>> makeDevices();

}  // namespace metalloid::cuda
