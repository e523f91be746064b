#pragma once

#include "core/device_implementation.hpp"
#include "operations/operation.hpp"

#include <metalloid/error.hpp>

namespace metalloid::cuda {

/// The error of an operation whose check failed on the device: the values that it read are fetched, and the checks of
/// the host say what is wrong with them, in the same words.
Error violationOf(const operations::Operation& operation, detail::DeviceImplementation& device);

}  // namespace metalloid::cuda
