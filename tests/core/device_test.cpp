#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

TEST(DeviceTest, AreNamedAndFoundByName) {
  const auto devices = Device::all();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices.front(), Device::systemDefault());
  for (const Device& device : devices) {
    EXPECT_EQ(Device::named(device.name()), device);
    EXPECT_FALSE(device.description().empty()) << device.name();
  }
  for (const char* name : {"cpu", "reference", "null"}) EXPECT_EQ(Device::named(name).name(), name);
}

TEST(DeviceTest, AnUnknownNameIsAnsweredWithThoseThereAre) {
  expectError(ErrorCode::invalidArgument, {"\"tpu:7\"", "cpu", "reference", "null"}, [] { Device::named("tpu:7"); });
  expectError(ErrorCode::invalidArgument, {"\"\""}, [] { Device::named(""); });
}

TEST(DeviceTest, NilIsRefusedByEveryCall) {
  const Device nil;
  EXPECT_FALSE(nil);
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.name(); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.description(); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.makeCommandQueue(); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.makeBuffer(4); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.numberOfThreads(); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [&] { nil.allocatedBytes(); });
}

TEST(DeviceTest, HandlesAreIdentities) {
  const Device cpu = Device::named("cpu"), again = Device::named("cpu"), reference = Device::named("reference");
  EXPECT_EQ(cpu, again);
  EXPECT_NE(cpu, reference);
  EXPECT_EQ(std::hash<Device>()(cpu), std::hash<Device>()(again));
  EXPECT_EQ(sizeof(Device), sizeof(void*));
}

TEST(DeviceTest, TheCpuTakesANumberOfThreads) {
  const Device cpu = Device::named("cpu");
  const testing::ThreadsOf restored(cpu);
  EXPECT_GE(cpu.numberOfThreads(), 1u);
  for (const std::size_t count : {3u, 1u, 2u}) {
    cpu.setNumberOfThreads(count);
    EXPECT_EQ(cpu.numberOfThreads(), count);
  }
  expectError(ErrorCode::invalidArgument, {"threads is 0"}, [&] { cpu.setNumberOfThreads(0); });
  EXPECT_EQ(cpu.numberOfThreads(), 2u);
}

TEST(DeviceTest, OtherDevicesHaveOneThread) {
  for (const char* name : {"reference", "null"}) {
    const Device device = Device::named(name);
    device.setNumberOfThreads(4);
    EXPECT_EQ(device.numberOfThreads(), 1u);
  }
}

TEST(DeviceTest, CountsTheBytesItHolds) {
  for (const Device& device : Device::all()) {
    SCOPED_TRACE(device.name());
    constexpr std::size_t kBytes = std::size_t{3} << 20;
    const std::size_t before = device.allocatedBytes();
    {
      const Buffer buffer = device.makeBuffer(kBytes);
      EXPECT_EQ(device.allocatedBytes(), before) << "Storage is made when it is first needed.";
      buffer.write(std::vector<std::byte>(1));
      EXPECT_GE(device.allocatedBytes(), before + kBytes);
      EXPECT_GE(device.peakAllocatedBytes(), before + kBytes);
    }
    EXPECT_EQ(device.allocatedBytes(), before);
    EXPECT_GE(device.peakAllocatedBytes(), before + kBytes);
  }
}

TEST(DeviceTest, MemoryThatIsNotThereIsAnError) {
  for (const Device& device : Device::all()) {
    const Buffer buffer = device.makeBuffer(std::size_t{1} << 60);
    expectError(ErrorCode::outOfMemory, {std::to_string(std::size_t{1} << 60), device.name()},
                [&] { buffer.read(0, 1); });
    const Buffer small = device.makeBuffer(16);
    EXPECT_EQ(small.read().size(), 16u) << "The device stays usable.";
  }
}

}  // namespace
}  // namespace metalloid
