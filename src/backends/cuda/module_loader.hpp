#pragma once

#include "backends/cuda/module.hpp"

#include <string>

namespace metalloid::cuda {

/// The module, or why it is not there.
struct LoadedModule {
  Module* module = nullptr;
  std::string reason;
};

/// Looks for libmetalloid-cuda.so at $METALLOID_CUDA_MODULE, and without that beside the library and the executable,
/// one folder above them, in the lib folder next to theirs, in the folder of the installation, and wherever the system
/// looks. What is loaded stays loaded.
LoadedModule loadModule();

}  // namespace metalloid::cuda
