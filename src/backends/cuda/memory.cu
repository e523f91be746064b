#include "backends/cuda/memory.hpp"

#include "backends/cuda/driver.hpp"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/queue.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <variant>

namespace metalloid::cuda {
namespace {

/// Those that have been opened; they live as long as the process.
struct OpenDevices {
  std::mutex mutex;
  std::vector<DeviceMemory*> devices;

  static OpenDevices& shared() {
    static OpenDevices& devices = *new OpenDevices;
    return devices;
  }
};

}  // namespace

void releaseUnusedMemory() {
  auto& open = OpenDevices::shared();
  std::scoped_lock lock(open.mutex);
  for (DeviceMemory* const device : open.devices) device->releaseUnused();
}

DeviceMemory::DeviceMemory(int index) : index_(index) {
  use();
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "The device does not tell its properties");
  std::snprintf(information_.name, sizeof(information_.name), "%s", properties.name);
  information_.computeMajor = properties.major;
  information_.computeMinor = properties.minor;
  information_.multiprocessors = properties.multiProcessorCount;
  information_.totalBytes = properties.totalGlobalMem;
  context_.multiprocessors = properties.multiProcessorCount;
  context_.computeMajor = properties.major;
  context_.l2Bytes = static_cast<std::size_t>(properties.l2CacheSize);

  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "A stream cannot be made");
  check(cudaEventCreateWithFlags(&worked_, cudaEventDisableTiming), "An event cannot be made");
  for (Stage& stage : stages_) {
    check(cudaMallocHost(&stage.address, kStageBytes), "Pinned memory is not there");
    check(cudaEventCreateWithFlags(&stage.copied, cudaEventDisableTiming), "An event cannot be made");
  }
  cudaMemPoolProps pool{};
  pool.allocType = cudaMemAllocationTypePinned;
  pool.location.type = cudaMemLocationTypeDevice;
  pool.location.id = index;
  check(cudaMemPoolCreate(&pool_, &pool), "A memory pool cannot be made");
  std::uint64_t keepAll = std::numeric_limits<std::uint64_t>::max();
  check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keepAll), "A memory pool cannot be set up");
  auto& open = OpenDevices::shared();
  std::scoped_lock lock(open.mutex);
  open.devices.push_back(this);
}

Status DeviceMemory::health() const {
  if (!isLost_) return {};
  std::scoped_lock lock(lostMutex_);
  return lost_;
}

/// Keeps the first cause; later failures of a lost device are told with it.
Status DeviceMemory::noticed(const Status& failed) {
  // Libraries tell that a call failed, not that the device is gone.
  const bool isLost = failed.code == Status::Code::lost ||
                      (failed.code == Status::Code::device && losesDevice(cudaStreamQuery(stream_)));
  if (!isLost) return failed;
  std::scoped_lock lock(lostMutex_);
  if (!isLost_) {
    lost_.code = Status::Code::lost;
    std::snprintf(lost_.message, sizeof(lost_.message),
                  "Device cuda:%d is lost until the process starts anew. What failed first: %.*s", index_,
                  static_cast<int>(sizeof(lost_.message)) - 100, failed.message);
    isLost_ = true;
  }
  return lost_;
}

void DeviceMemory::use() const { check(cudaSetDevice(index_), "The device cannot be used"); }

void DeviceMemory::noteWork() { check(cudaEventRecord(worked_, stream_), "A device operation did not start"); }

void DeviceMemory::waitFor(cudaStream_t stream) {
  std::scoped_lock lock(mutex_);
  check(cudaStreamWaitEvent(stream, worked_), "A device operation did not start");
}

Status DeviceMemory::allocate(std::size_t bytes, bool zeroed, std::byte*& address) {
  const Status status = allocateFromPool(bytes, zeroed, address);
  if (status.code != Status::Code::outOfMemory) return status;
  // What is free but in pieces, or in queues that nobody uses, goes back to the driver, which can put it together.
  releaseUnused();
  return allocateFromPool(bytes, zeroed, address);
}

Status DeviceMemory::allocateFromPool(std::size_t bytes, bool zeroed, std::byte*& address) {
  return guarded([&] {
    use();
    std::scoped_lock lock(mutex_);
    void* memory = nullptr;
    check(cudaMallocFromPoolAsync(&memory, bytes, pool_, stream_), "Device memory is not there");
    address = static_cast<std::byte*>(memory);
    held_.emplace(address, bytes);
    if (zeroed) check(cudaMemsetAsync(memory, 0, bytes, stream_), "Device memory cannot be cleared");
    noteWork();
  });
}

void DeviceMemory::free(std::byte* address) {
  guarded([&] {
    use();
    std::scoped_lock lock(mutex_);
    held_.erase(address);
    check(cudaFreeAsync(address, stream_), "Device memory cannot be given back");
  });
}

void DeviceMemory::releaseUnused() {
  decltype(idleQueues_) queues;
  {
    std::scoped_lock lock(queuesMutex_);
    queues.swap(idleQueues_);
  }
  queues.clear();
  std::scoped_lock lock(mutex_);
  cudaStreamSynchronize(stream_);
  cudaMemPoolTrimTo(pool_, 0);
}

MemoryInformation DeviceMemory::memory() {
  MemoryInformation information;
  guarded([&] {
    use();
    std::size_t total = 0;
    check(cudaMemGetInfo(&information.freeBytes, &total), "The device does not tell its memory");
    std::scoped_lock lock(mutex_);
    std::uint64_t reserved = 0, used = 0;
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved), "A memory pool failed");
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used), "A memory pool failed");
    information.freeBytes += reserved - used;
    std::vector<std::size_t> sizes;
    for (const auto& [address, bytes] : held_) sizes.push_back(bytes);
    std::sort(sizes.rbegin(), sizes.rend());
    for (std::size_t i = 0; i < std::min<std::size_t>(3, sizes.size()); ++i) information.largest[i] = sizes[i];
  });
  return information;
}

template <class F>
void DeviceMemory::forEachChunk(std::size_t rowLength, std::size_t rows, F f) {
  const auto chunk = [&](std::size_t row, std::size_t count, std::size_t byte, std::size_t bytes) {
    Stage& stage = stages_[nextStage_++ % kStages];
    check(cudaEventSynchronize(stage.copied), "A copy failed");
    f(stage, row, count, byte, bytes);
  };
  if (rowLength > kStageBytes) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t byte = 0; byte < rowLength; byte += kStageBytes) {
        chunk(row, 1, byte, std::min(kStageBytes, rowLength - byte));
      }
    }
    return;
  }
  const std::size_t atOnce = kStageBytes / rowLength;
  for (std::size_t row = 0; row < rows; row += atOnce) chunk(row, std::min(atOnce, rows - row), 0, rowLength);
}

Status DeviceMemory::copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host,
                                  std::size_t hostPitch, std::size_t rowLength, std::size_t rows) {
  if (rowLength == 0 || rows == 0) return {};
  return guarded([&] {
    use();
    std::scoped_lock lock(mutex_);
    forEachChunk(rowLength, rows,
                 [&](Stage& stage, std::size_t row, std::size_t count, std::size_t byte, std::size_t bytes) {
                   for (std::size_t i = 0; i < count; ++i) {
                     std::memcpy(stage.address + i * bytes, host + (row + i) * hostPitch + byte, bytes);
                   }
                   check(cudaMemcpy2DAsync(device + row * devicePitch + byte, std::max(devicePitch, bytes),
                                           stage.address, bytes, bytes, count, cudaMemcpyHostToDevice, stream_),
                         "A copy to the device did not start");
                   check(cudaEventRecord(stage.copied, stream_), "A copy to the device did not start");
                 });
    noteWork();
  });
}

Status DeviceMemory::copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device,
                                std::size_t devicePitch, std::size_t rowLength, std::size_t rows) {
  if (rowLength == 0 || rows == 0) return {};
  return guarded([&] {
    use();
    std::scoped_lock lock(mutex_);
    forEachChunk(rowLength, rows,
                 [&](Stage& stage, std::size_t row, std::size_t count, std::size_t byte, std::size_t bytes) {
                   check(cudaMemcpy2DAsync(stage.address, bytes, device + row * devicePitch + byte,
                                           std::max(devicePitch, bytes), bytes, count, cudaMemcpyDeviceToHost, stream_),
                         "A copy from the device did not start");
                   check(cudaEventRecord(stage.copied, stream_), "A copy from the device did not start");
                   check(cudaEventSynchronize(stage.copied), "A copy from the device failed");
                   for (std::size_t i = 0; i < count; ++i) {
                     std::memcpy(host + (row + i) * hostPitch + byte, stage.address + i * bytes, bytes);
                   }
                 });
  });
}

Status DeviceMemory::makeQueue(ModuleQueue*& queue) {
  const auto make = [&] {
    use();
    {
      std::scoped_lock lock(queuesMutex_);
      if (!idleQueues_.empty()) {
        queue = idleQueues_.back().release();
        idleQueues_.pop_back();
        return;
      }
    }
    queue = new Queue(*this, context_);
  };
  const Status status = guarded(make);
  if (status.code != Status::Code::outOfMemory) return status;
  releaseUnused();  // streams take memory, too
  return guarded(make);
}

void DeviceMemory::keep(Queue* queue) {
  std::unique_ptr<Queue> owned(queue);
  std::scoped_lock lock(queuesMutex_);
  constexpr std::size_t kMost = 4;
  if (!isLost_ && idleQueues_.size() < kMost) idleQueues_.push_back(std::move(owned));
}

const char* DeviceMemory::explain(const operations::Operation& operation, void* context,
                                  void (*refusal)(void*, const char*, const char*)) const {
  Explainer explainer{.context = context, .refusal = refusal};
  Context device = context_;
  std::visit([&](const auto& o) { run(o, device, &explainer); }, operation);
  return explainer.implementation;
}

namespace {

class CudaModule final : public Module {
 public:
  int numberOfDevices() const override {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
  }

  Status openDevice(int index, ModuleDevice*& device) override {
    return statusOf([&] { device = new DeviceMemory(index); });
  }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Module* metalloidCudaModule(std::uint32_t version, Status* status) {
  const auto refuse = [&](const char* what, const char* detail) -> Module* {
    *status = Failure(Status::Code::device, what, detail).status;
    return nullptr;
  };
  if (version != kModuleVersion) return refuse("The CUDA module", "it is of another version of the library");
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  *status = driverStatus(driver, runtime);
  if (!status->isOk()) return nullptr;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return refuse("CUDA does not work here", cudaGetErrorString(error));
  if (count == 0) return refuse("CUDA does not work here", "there is no device");
  static CudaModule* const module = new CudaModule;
  return module;
}

}  // namespace metalloid::cuda
