#include "backends/cuda/module_loader.hpp"
#include "backends/cuda/work.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectSays;

/// Names a file as the module, as long as it lives.
class NamedModule {
 public:
  explicit NamedModule(const std::string& file) {
    if (const char* const before = std::getenv(kVariable)) before_ = before;
    setenv(kVariable, file.c_str(), 1);
  }
  ~NamedModule() {
    if (before_) {
      setenv(kVariable, before_->c_str(), 1);
    } else {
      unsetenv(kVariable);
    }
  }
  NamedModule(const NamedModule&) = delete;
  NamedModule& operator=(const NamedModule&) = delete;

 private:
  static constexpr const char* kVariable = "METALLOID_CUDA_MODULE";
  std::optional<std::string> before_;
};

std::string refusalOf(const std::string& file) {
  const NamedModule named(file);
  const auto loaded = cuda::loadModule();
  EXPECT_EQ(loaded.module, nullptr);
  return loaded.reason;
}

TEST(CudaModule, SaysWhyItIsAbsent) {
  const auto loaded = cuda::loadModule();
  EXPECT_EQ(loaded.module == nullptr, !loaded.reason.empty()) << loaded.reason;
}

TEST(CudaModule, ThatIsNamedButMissingIsTold) {
  const std::string reason = refusalOf("/nowhere/libmetalloid-cuda.so");
  expectSays(reason, "/nowhere/libmetalloid-cuda.so");
  expectSays(reason, "No such file");
}

TEST(CudaModule, ThatIsNoLibraryIsTold) {
  const auto file = std::filesystem::temp_directory_path() / "metalloid-no-library.so";
  std::ofstream(file) << "This is text, and long enough to hold the header of a library if it were one. It is not.\n";
  expectSays(refusalOf(file.string()), file.string());
  std::filesystem::remove(file);
}

TEST(CudaModule, ThatIsAnotherLibraryIsTold) {
  expectSays(refusalOf("libz.so.1"), "the module has no metalloidCudaModule");
}

TEST(CudaModule, OfAnotherVersionIsTold) {
  if (!std::filesystem::exists(METALLOID_OTHER_MODULE))
    GTEST_SKIP() << "skipped: " METALLOID_OTHER_MODULE " is not here";
  const std::string reason = refusalOf(METALLOID_OTHER_MODULE);
  expectSays(reason, std::to_string(cuda::kModuleVersion));
  expectSays(reason, std::to_string(cuda::kModuleVersion + 1));
}

}  // namespace
}  // namespace metalloid
