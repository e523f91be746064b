#include "backends/cuda/module.hpp"

#include <cstdio>

/// A CUDA module of another version of the library, which refuses this one as the real module does.
extern "C" metalloid::cuda::Module* metalloidCudaModule(std::uint32_t version, metalloid::cuda::Status* status) {
  status->code = metalloid::cuda::Status::Code::device;
  std::snprintf(status->message, sizeof(status->message), "The module is of version %u, but the library is of %u.",
                metalloid::cuda::kModuleVersion + 1, version);
  return nullptr;
}
