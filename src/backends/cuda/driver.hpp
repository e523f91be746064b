#pragma once

#include "backends/cuda/module.hpp"

#include <cstdio>

namespace metalloid::cuda {

/// Whether a driver can serve the module. Versions are those of CUDA: 12040 is 12.4, and 0 is none. Within a major
/// version an older driver will do.
inline Status driverStatus(int driver, int needed) {
  Status status;
  if (driver / 1000 >= needed / 1000) return status;
  status.code = Status::Code::device;
  if (driver == 0) {
    std::snprintf(status.message, sizeof(status.message), "There is no NVIDIA driver that works.");
  } else {
    std::snprintf(status.message, sizeof(status.message),
                  "The NVIDIA driver is too old: it knows CUDA %d.%d, but the module needs %d.0.", driver / 1000,
                  driver % 1000 / 10, needed / 1000);
  }
  return status;
}

}  // namespace metalloid::cuda
