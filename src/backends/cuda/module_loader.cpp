#include "backends/cuda/module_loader.hpp"

#include "core/format.hpp"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include <dlfcn.h>

namespace metalloid::cuda {
namespace {

constexpr const char* kFileName = "libmetalloid-cuda.so";

void addPlacesNear(const std::filesystem::path& file, std::vector<std::filesystem::path>& places) {
  const auto folder = file.parent_path();
  places.insert(places.end(), {folder, folder.parent_path(), folder.parent_path() / "lib"});
}

/// The file that the user names; nil for none.
const char* namedFile() {
  const char* const path = std::getenv("METALLOID_CUDA_MODULE");
  return path && *path ? path : nullptr;
}

/// Where the module may lie, the likeliest first; a bare file name leaves the search to the system.
std::vector<std::filesystem::path> places() {
  if (const char* const path = namedFile()) return {path};
  std::vector<std::filesystem::path> folders;
  Dl_info library{};
  if (dladdr(reinterpret_cast<const void*>(&loadModule), &library) != 0 && library.dli_fname) {
    addPlacesNear(library.dli_fname, folders);
  }
  std::error_code error;
  if (const auto executable = std::filesystem::read_symlink("/proc/self/exe", error); !error) {
    addPlacesNear(executable, folders);
  }
#ifdef METALLOID_INSTALLED_LIBRARIES
  folders.emplace_back(METALLOID_INSTALLED_LIBRARIES);
#endif
  std::vector<std::filesystem::path> files;
  for (const auto& folder : folders) {
    if (std::filesystem::exists(folder / kFileName, error)) files.push_back(folder / kFileName);
  }
  files.emplace_back(kFileName);
  return files;
}

}  // namespace

LoadedModule loadModule() {
  // Before the module, whose libraries are large: most machines without a GPU have no driver. A file that is named is
  // wanted: what is wrong with it matters more.
  if (!namedFile() && !dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL))
    return {nullptr, "there is no NVIDIA driver (libcuda.so.1)"};
  void* library = nullptr;
  std::string reason;
  for (const auto& place : places()) {
    library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library) break;
    if (reason.empty()) reason = dlerror();
  }
  if (!library) return {nullptr, fmt::format("the module cannot be loaded ({})", reason)};
  const auto entry = reinterpret_cast<ModuleEntry>(dlsym(library, kModuleEntry));
  if (!entry) return {nullptr, fmt::format("the module has no {}: it is none", kModuleEntry)};
  Status status;
  Module* const module = entry(kModuleVersion, &status);
  return {module, module ? "" : status.message};
}

}  // namespace metalloid::cuda
