// Every image kernel on every device against the reference device, over storage, formats and sizes; equal bits in every
// run and for every number of threads. The reference itself is held to worked examples and to PyTorch's numbers in
// tests/kernels and tests/vectors, and to central differences in gradient_check_test.cpp.
//
// Tests are called like PoolingMax/cpu.float32/separate; METALLOID_TEST_SEED=N draws other data.

#include "core/format.hpp"
#include "image_conformance/image_trial.hpp"
#include "support/devices.hpp"

#include <metalloid/error.hpp>

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace metalloid::image_conformance {
namespace {

std::vector<Case> allCases() {
  std::vector<Case> cases;
  for (const auto& family :
       {arithmeticCases, batchNormalizationCases, convolutionCases, dropoutCases, localNormalizationCases, lossCases,
        neuronCases, poolingCases, reduceCases, shapeCases, softMaxCases, upsamplingCases}) {
    for (Case& c : family()) cases.push_back(std::move(c));
  }
  return cases;
}

std::string_view name(Storage storage) {
  switch (storage) {
    case Storage::block:
      return "block";
    case Storage::separate:
      return "separate";
    case Storage::channels:
      return "channels";
    default:
      return "container";
  }
}

std::uint64_t seedFor(const std::string& test) {
  const char* const text = std::getenv("METALLOID_TEST_SEED");
  return testing::seedOf(test) + (text ? std::strtoull(text, nullptr, 10) : 0);
}

class ConformanceTest : public ::testing::Test {
 public:
  explicit ConformanceTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

void registerTest(const std::string& suite, const std::string& test, std::function<void()> body) {
  ::testing::RegisterTest(suite.c_str(), test.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [body = std::move(body)]() -> ConformanceTest* { return new ConformanceTest(body); });
}

void runTrial(const Case& c, const Device& device, const Variant& variant) {
  SCOPED_TRACE(fmt::format("{} on {}, {} {}, {} images{}, seed {}", c.name, device.name(),
                           metalloid::name(variant.format), name(variant.storage), variant.images,
                           variant.isLarge ? ", large" : "", variant.seed));
  try {
    ImageTrial trial(device, variant);
    c.run(trial);
  } catch (const Error& error) {
    ADD_FAILURE() << error.what();
  }
}

void registerCase(const Case& c, const Device& device) {
  const std::string suite = fmt::format("{}/{}", c.name, device.name());
  constexpr int kTrials = 12;  // each draws sizes and settings of its own
  for (const auto format : c.formats) {
    for (const Storage storage : kStorages) {
      const std::string test = fmt::format("{}/{}", metalloid::name(format), name(storage));
      registerTest(suite, test, [=] {
        testing::Random random(seedFor(c.name + test));
        for (int trial = 0; trial < kTrials; ++trial) {
          runTrial(c, device,
                   {.storage = storage, .format = format, .images = 1 + random.below(4), .seed = random.bits()});
        }
      });
    }
  }
  const auto large = [=] {
    testing::Random random(seedFor(c.name + "large"));
    for (int trial = 0; trial < 3; ++trial)
      runTrial(c, device, {.format = c.formats.front(), .images = 5, .seed = random.bits(), .isLarge = true});
  };
  registerTest(suite, "large", large);
  if (device.name() != "cpu") return;
  // Once more for every instruction set that this processor has.
  for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    registerTest(suite, fmt::format("target/{}", hwy::TargetName(target)), [=] {
      hwy::SetSupportedTargetsForTest(target);
      testing::Random random(seedFor(c.name + "target"));
      for (int trial = 0; trial < kTrials; ++trial) {
        runTrial(c, device,
                 {.storage = kStorages[random.below(std::size(kStorages))], .images = 2, .seed = random.bits()});
      }
      hwy::SetSupportedTargetsForTest(0);
    });
  }
}

}  // namespace
}  // namespace metalloid::image_conformance

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (const auto& device : metalloid::testing::computingDevices()) {
    if (device.name() == "reference") continue;  // it is what the others are compared with
    for (const auto& c : metalloid::image_conformance::allCases())
      metalloid::image_conformance::registerCase(c, device);
  }
  return RUN_ALL_TESTS();
}
