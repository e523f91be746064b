#pragma once

#include <metalloid/device.hpp>

#include <gtest/gtest.h>

namespace metalloid::testing {

/// The first CUDA device; nil where there is none.
inline Device cudaDevice() {
  for (const Device& device : Device::all()) {
    if (device.name() == "cuda:0") return device;
  }
  return {};
}

/// Tests that need a CUDA device; elsewhere they say so.
class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!device) GTEST_SKIP() << "skipped: no CUDA device";
  }

  const Device device = cudaDevice();
};

}  // namespace metalloid::testing
