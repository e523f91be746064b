// The conformance suite: every kernel on every device, over storage, types, sizes, optional operands and threads.
//
// Every device is held to the same formulas, written once more in double precision in the *_cases.cpp files; the
// reference is a device among them, with the bounds of double arithmetic and one rounding to storage. Two devices that
// pass therefore agree with each other, and a mistake in the reference cannot hide one in another device.
//
// Tests are called like FullyConnectedGradientForData/cpu.f32/33x13x7_sliced; --gtest_filter='Neuron*/cpu.*' picks.
// METALLOID_TEST_SEED=N draws other data; failures print the seed that they had.

#include "conformance/cases.hpp"
#include "core/format.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/error.hpp>

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace metalloid::conformance {

std::vector<Case> allCases() {
  std::vector<Case> cases;
  for (const auto& family : {fullyConnectedCases, neuronCases, batchNormalizationCases, softmaxCases,
                             multiplicationCases, sumCases, copyCases, findTopKCases, randomCases, optimizerCases}) {
    for (Case& c : family()) cases.push_back(std::move(c));
  }
  return cases;
}

namespace {

class ConformanceTest : public ::testing::Test {
 public:
  explicit ConformanceTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

std::uint64_t seedFor(const std::string& name) {
  const char* const text = std::getenv("METALLOID_TEST_SEED");
  return testing::seedOf(name) + (text ? std::strtoull(text, nullptr, 10) : 0);
}

void runTrial(const Case& c, const Device& device, const Variant& variant) {
  SCOPED_TRACE(fmt::format("{} on {}, {}, {} {}, choices {:b}{}, seed {}", c.name, device.name(), variant.types.name,
                           nameOf(variant.sizes), name(variant.storage), variant.choices,
                           variant.smallIntegers ? ", small integers" : "", variant.seed));
  try {
    Trial trial(device, variant, c.matrices, c.hasOrigins);
    c.run(trial);
    trial.finish();
  } catch (const Error& error) {
    ADD_FAILURE() << error.what();
  }
}

void registerTest(const std::string& suite, const std::string& test, std::function<void()> body) {
  ::testing::RegisterTest(suite.c_str(), test.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [body = std::move(body)]() -> ConformanceTest* { return new ConformanceTest(body); });
}

/// Small sizes: the whole product.
void registerSmall(const Case& c, const Device& device, const std::string& suite) {
  for (const Types& types : c.types) {
    for (const Sizes& sizes : c.smallSizes) {
      for (const Storage storage : kStorages) {
        const std::string test = fmt::format("{}/{}_{}", types.name, nameOf(sizes), name(storage));
        registerTest(suite, test, [=] {
          testing::Random random(seedFor(c.name + test));
          for (std::uint64_t choices = 0; choices < std::uint64_t{1} << c.choices; ++choices) {
            runTrial(c, device,
                     {.sizes = sizes, .storage = storage, .types = types, .choices = choices, .seed = random.bits()});
          }
        });
      }
    }
  }
}

/// Large sizes: one storage and one combination of choices for each type; sums and products once more on integers.
void registerLarge(const Case& c, const Device& device, const std::string& suite) {
  for (const Types& types : c.types) {
    for (const Sizes& sizes : c.largeSizes) {
      for (const bool smallIntegers : {false, true}) {
        if (smallIntegers && !c.isExactOnIntegers) continue;
        testing::Random random(seedFor(c.name + std::string(types.name) + nameOf(sizes) + (smallIntegers ? "i" : "")));
        const Variant variant{.sizes = sizes,
                              .storage = kStorages[random.below(std::size(kStorages))],
                              .types = types,
                              .choices = random.bits(),
                              .smallIntegers = smallIntegers,
                              .seed = random.bits()};
        registerTest(suite,
                     fmt::format("{}/{}_{}{}", types.name, nameOf(sizes), name(variant.storage),
                                 smallIntegers ? "_integers" : ""),
                     [=] { runTrial(c, device, variant); });
      }
    }
  }
}

/// Huge sizes: what a device may treat differently for memory's sake. The reference has one way only.
void registerHuge(const Case& c, const Device& device, const std::string& suite) {
  if (device.name() == "reference") return;
  for (const Sizes& sizes : c.hugeSizes) {
    const std::string test = fmt::format("{}/{}_packed", c.types.front().name, nameOf(sizes));
    testing::Random random(seedFor(c.name + test));
    const Variant variant{.sizes = sizes, .types = c.types.front(), .choices = c.hugeChoices, .seed = random.bits()};
    registerTest(suite, test, [=] { runTrial(c, device, variant); });
  }
}

/// Packed sizes: with the choices of huge ones, with all of them, and with some by seed.
void registerPacked(const Case& c, const Device& device, const std::string& suite) {
  if (device.name() == "reference") return;
  for (const Types& types : c.types) {
    for (const Sizes& sizes : c.packedSizes) {
      const std::string test = fmt::format("{}/{}_packed_choices", types.name, nameOf(sizes));
      registerTest(suite, test, [=] {
        testing::Random random(seedFor(c.name + test));
        for (const std::uint64_t choices : {c.hugeChoices, ~std::uint64_t{0}, random.bits()}) {
          runTrial(c, device, {.sizes = sizes, .types = types, .choices = choices, .seed = random.bits()});
        }
      });
    }
  }
}

/// Anything goes: sizes, storage and choices by seed.
void registerRandom(const Case& c, const Device& device, const std::string& suite) {
  constexpr int kTrials = 40;
  constexpr std::size_t kLongest = 70;
  const auto body = [=] {
    testing::Random random(seedFor(c.name + std::string("random")));
    for (int trial = 0; trial < kTrials; ++trial) {
      Variant variant{.sizes = c.smallSizes.front(),
                      .storage = kStorages[random.below(std::size(kStorages))],
                      .types = c.types[random.below(c.types.size())],
                      .choices = random.bits(),
                      .smallIntegers = c.isExactOnIntegers && random.coin(),
                      .seed = random.bits()};
      for (std::size_t& size : variant.sizes) size = 1 + random.below(kLongest);
      runTrial(c, device, variant);
    }
  };
  registerTest(suite, "random", body);
  if (device.name() != "cpu") return;
  // Once more for every instruction set that this processor has.
  for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    registerTest(suite, fmt::format("random/{}", hwy::TargetName(target)), [=] {
      hwy::SetSupportedTargetsForTest(target);
      body();
      hwy::SetSupportedTargetsForTest(0);
    });
  }
}

/// The same bits for every number of threads, on sizes that are worth sharing.
void registerThreads(const Case& c, const Device& device, const std::string& suite) {
  {
    const testing::ThreadsOf restored(device);
    device.setNumberOfThreads(2);
    if (device.numberOfThreads() != 2) return;  // has no threads of its own
  }
  registerTest(suite, "threads", [=] {
    testing::Random random(seedFor(c.name + std::string("threads")));
    for (const Sizes& sizes : c.largeSizes) {
      runTrial(c, device,
               {.sizes = sizes,
                .storage = Storage::padded,
                .types = c.types[random.below(c.types.size())],
                .choices = random.bits(),
                .seed = random.bits(),
                .threads = {1, 2, 3, 4}});
    }
  });
}

void registerAll() {
  for (const Device& device : testing::computingDevices()) {
    for (const Case& c : allCases()) {
      const std::string suite = fmt::format("{}/{}", c.name, device.name());
      registerSmall(c, device, suite);
      registerLarge(c, device, suite);
      registerHuge(c, device, suite);
      registerPacked(c, device, suite);
      registerRandom(c, device, suite);
      registerThreads(c, device, suite);
    }
  }
}

}  // namespace
}  // namespace metalloid::conformance

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  metalloid::conformance::registerAll();
  return RUN_ALL_TESTS();
}
