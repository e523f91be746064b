#include "backends/cuda/driver.hpp"

#include <string>

#include <gtest/gtest.h>

namespace metalloid::cuda {
namespace {

TEST(CudaDriver, OfTheSameMajorVersionOrALaterOneWillDo) {
  EXPECT_TRUE(driverStatus(13000, 13000).isOk());
  EXPECT_TRUE(driverStatus(13000, 13020).isOk());
  EXPECT_TRUE(driverStatus(14010, 13000).isOk());
}

TEST(CudaDriver, ThatIsTooOldIsToldWithBothVersions) {
  const Status status = driverStatus(12080, 13000);
  EXPECT_EQ(status.code, Status::Code::device);
  EXPECT_STREQ(status.message, "The NVIDIA driver is too old: it knows CUDA 12.8, but the module needs 13.0.");
}

TEST(CudaDriver, ThatIsAbsentIsToldSo) {
  EXPECT_NE(std::string(driverStatus(0, 13000).message).find("no NVIDIA driver"), std::string::npos);
}

}  // namespace
}  // namespace metalloid::cuda
