#include "backends/cuda/device.hpp"

#include "backends/cuda/executor.hpp"
#include "backends/cuda/module_loader.hpp"
#include "core/completion_thread.hpp"
#include "core/format.hpp"
#include "core/log.hpp"
#include "operations/describe.hpp"

#include <metalloid/error.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace metalloid::cuda {
namespace {

using detail::Ref;

std::string gigabytes(std::size_t bytes) { return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9); }

class CudaStorage final : public detail::Storage {
 public:
  CudaStorage(Ref<detail::DeviceImplementation> device, ModuleDevice& module, std::byte* address, std::size_t length)
      : Storage(address, length), device_(std::move(device)), module_(module) {
    device_->countAllocated(length);
  }
  ~CudaStorage() override {
    module_.free(address());
    device_->countFreed(length());
  }

 private:
  Ref<detail::DeviceImplementation> device_;
  ModuleDevice& module_;
};

class CudaDevice final : public detail::DeviceImplementation {
 public:
  CudaDevice(int index, ModuleDevice& module)
      : DeviceImplementation(fmt::format("cuda:{}", index)), module_(module), information_(module.information()) {}

  std::string description() const override {
    return fmt::format("{}, compute capability {}.{}, {} multiprocessors, {}", information_.name,
                       information_.computeMajor, information_.computeMinor, information_.multiprocessors,
                       gigabytes(information_.totalBytes));
  }

  bool isHostVisible() const override { return false; }

  void requireUsable() const override { require(module_.health(), "using"); }

  Ref<detail::Storage> allocate(std::size_t bytes, bool zeroed) override {
    const std::size_t length = bytes == 0 ? 1 : bytes;  // so that every storage has an address of its own
    std::byte* address = nullptr;
    Status status = module_.allocate(length, zeroed, address);
    if (status.code == Status::Code::outOfMemory) {
      releaseCachedBlocks();
      status = module_.allocate(length, zeroed, address);
    }
    if (status.code == Status::Code::outOfMemory) throw outOfMemory(bytes);
    require(status, "allocating memory on");
    return Ref<detail::Storage>(new CudaStorage(Ref<DeviceImplementation>(this), module_, address, length));
  }

  void copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                    detail::ByteRectangle size) override {
    require(module_.copyToDevice(device, devicePitch, host, hostPitch, size.rowLength, size.rows), "copying to");
  }

  void copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                  detail::ByteRectangle size) override {
    require(module_.copyToHost(host, hostPitch, device, devicePitch, size.rowLength, size.rows), "copying from");
  }

  Ref<detail::Executor> makeExecutor() override {
    ModuleQueue* queue = nullptr;
    require(module_.makeQueue(queue), "making a command queue of");
    return detail::makeRef<CudaExecutor>(*this, *queue);
  }

  void explain(const operations::Operation& operation, Explanation& explanation) const override {
    explanation.shape = operations::describe(operation);
    const auto addRefusal = [](void* to, const char* implementation, const char* reason) {
      static_cast<Explanation*>(to)->refusals.push_back({implementation, reason});
    };
    explanation.implementation = module_.explain(operation, &explanation, addRefusal);
  }

 private:
  void require(const Status& status, const char* step) const {
    if (!status.isOk()) throw errorOf(status).during(fmt::format("{} device {}", step, name()));
  }

  Error outOfMemory(std::size_t bytes) const {
    const MemoryInformation memory = module_.memory();
    std::string largest;
    for (const std::size_t size : memory.largest) {
      if (size > 0) largest += fmt::format("{}{}", largest.empty() ? "" : ", ", size);
    }
    return Error(ErrorCode::outOfMemory,
                 fmt::format("{} bytes are asked of device {}, which has {} bytes free and holds {} bytes already{}.",
                             bytes, name(), memory.freeBytes, allocatedBytes(),
                             largest.empty() ? "" : fmt::format(", the largest pieces of {} bytes", largest)));
  }

  ModuleDevice& module_;
  DeviceInformation information_;
};

/// One line, for those who asked for it.
void explainAbsence(const std::string& reason) {
  if (detail::logIsOn()) std::fprintf(stderr, "metalloid: no CUDA device: %s\n", reason.c_str());
}

}  // namespace

std::vector<Ref<detail::DeviceImplementation>> makeDevices() {
  std::vector<Ref<detail::DeviceImplementation>> devices;
  const LoadedModule loaded = loadModule();
  if (!loaded.module) {
    explainAbsence(loaded.reason);
    return devices;
  }
  for (int i = 0; i < loaded.module->numberOfDevices(); ++i) {
    ModuleDevice* device = nullptr;
    const Status status = loaded.module->openDevice(i, device);
    if (status.isOk()) {
      devices.push_back(detail::makeRef<CudaDevice>(i, *device));
    } else {
      explainAbsence(fmt::format("cuda:{} does not open: {}", i, status.message));
    }
  }
  // When the process exits, the driver goes first. What ended command buffers still hold must have gone before.
  if (!devices.empty()) {
    std::atexit([] { detail::CompletionThread::shared().drain(std::chrono::seconds(2)); });
  }
  return devices;
}

}  // namespace metalloid::cuda
