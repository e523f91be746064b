#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_random.hpp>

#include <cmath>
#include <numeric>
#include <vector>

namespace metalloid::test {
namespace {

using Distribution = MatrixRandomDistributionDescriptor;

class RandomValues : public OnDevice {};
class RandomChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, RandomValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, RandomChecks, testing::Values("reference", "cpu", "null"), deviceName);

constexpr Layout kWords{.type = DataType::uInt32};

MatrixRandomPhilox floats(const Device& device, const Distribution& distribution, std::size_t seed = 0) {
  return MatrixRandomPhilox(
      device, {.destinationDataType = DataType::float32, .seed = seed, .distributionDescriptor = distribution});
}

template <class T>
std::vector<T> next(MatrixRandomPhilox& random, std::size_t count) {
  const Vector vector = makeVector(random.device(), count, {.type = random.destinationDataType()});
  execute(random.device(), [&](CommandBuffer& commands) { random.encode(commands, {.destinationVector = vector}); });
  return vector.read<T>();
}

TEST_P(RandomValues, bitsAreThePublishedGenerators) {
  // The known answers that come with the authors' code: counter and key 0.
  MatrixRandomPhilox random(device);
  EXPECT_EQ(next<std::uint32_t>(random, 4),
            (std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(random.nextBlock, 1u);
}

TEST_P(RandomValues, encodesContinueTheStreamAtTheNextBlock) {
  MatrixRandomPhilox whole(device, {.seed = 7});
  const auto stream = next<std::uint32_t>(whole, 40);
  EXPECT_EQ(whole.nextBlock, 10u);

  MatrixRandomPhilox pieces(device, {.seed = 7});
  const auto first = next<std::uint32_t>(pieces, 6);  // one block and a half: two are used
  EXPECT_EQ(pieces.nextBlock, 2u);
  const auto second = next<std::uint32_t>(pieces, 8);
  EXPECT_EQ(pieces.nextBlock, 4u);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), stream.begin()));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), stream.begin() + 8));

  const MatrixRandomPhilox saved = pieces.copy();
  const auto third = next<std::uint32_t>(pieces, 5);
  auto resumed = decoded<MatrixRandomPhilox>(archiveOf(saved), device);
  EXPECT_EQ(next<std::uint32_t>(resumed, 5), third);
  pieces.nextBlock = 0;
  EXPECT_EQ(next<std::uint32_t>(pieces, 6), first);
}

TEST_P(RandomValues, theBlockCounterWraps) {
  MatrixRandomPhilox random(device);
  random.nextBlock = ~std::uint64_t{0};
  const auto words = next<std::uint32_t>(random, 8);
  EXPECT_EQ(words[4], 0x6627e8d5u);
  EXPECT_EQ(random.nextBlock, 1u);
}

TEST_P(RandomValues, seedsChooseTheStream) {
  MatrixRandomPhilox zero(device), one(device, {.seed = 1}), large(device, {.seed = std::size_t{1} << 32});
  const auto words = next<std::uint32_t>(zero, 4);
  EXPECT_NE(next<std::uint32_t>(one, 4), words);
  EXPECT_NE(next<std::uint32_t>(large, 4), words);
}

TEST_P(RandomValues, matricesAreFilledRowByRowWhateverTheirStrides) {
  MatrixRandomPhilox reference(device, {.seed = 3});
  const auto stream = next<std::uint32_t>(reference, 2 * 5 * 7);
  for (const Layout& layout : layouts(DataType::uInt32, 4)) {
    MatrixRandomPhilox random(device, {.seed = 3});
    random.batchStart = 1;
    random.batchSize = 2;
    const Matrix matrix = makeMatrix(device, 5, 7, layout);
    const Guard guard(matrix);
    execute(device, [&](CommandBuffer& commands) { random.encode(commands, {.destinationMatrix = matrix}); });
    guard.expectUntouchedOutside({}, 5, 7, 1, 2);
    const auto values = matrix.read<std::uint32_t>();
    EXPECT_TRUE(std::equal(stream.begin(), stream.end(), values.begin() + 35));
    EXPECT_EQ(random.nextBlock, 18u);  // 70 words

    const Vector vector = makeVector(device, 35, layout);
    const Guard vectorGuard(vector);
    random.nextBlock = 0;
    execute(device, [&](CommandBuffer& commands) { random.encode(commands, {.destinationVector = vector}); });
    vectorGuard.expectUntouchedOutside({}, 1, 35, 1, 2);
    const auto elements = vector.read<std::uint32_t>();
    EXPECT_TRUE(std::equal(stream.begin(), stream.end(), elements.begin() + 35));
  }
}

TEST_P(RandomValues, uniformTakesTheUpper23Bits) {
  MatrixRandomPhilox bits(device, {.seed = 5});
  auto random = floats(device, Distribution::uniformDistributionDescriptor(-3, 5), 5);
  const auto words = next<std::uint32_t>(bits, 1000);
  const auto values = next<double>(random, 1000);
  for (std::size_t e = 0; e < words.size(); ++e) {
    const double exact = -3 + 8 * (static_cast<double>(words[e] >> 9) * 0x1p-23);
    EXPECT_EQ(values[e], static_cast<double>(static_cast<float>(exact)));  // rounded once
    EXPECT_TRUE(values[e] >= -3 && values[e] < 5);
  }
}

TEST_P(RandomValues, uniformNeverReachesItsMaximum) {
  // Nothing lies between 1 and the next float: every number rounds to one of the bounds.
  auto random = floats(device, Distribution::uniformDistributionDescriptor(1, std::nextafter(1.0f, 2.0f)));
  for (const double value : next<double>(random, 1000)) EXPECT_EQ(value, 1);
}

TEST_P(RandomValues, normalHasItsMoments) {
  const std::size_t count = 100'000;
  auto random = floats(device, Distribution::normalDistributionDescriptor(3, 2), 11);
  const auto values = next<double>(random, count);
  double mean = 0, variance = 0;
  for (const double value : values) {
    ASSERT_TRUE(std::isfinite(value));
    mean += value / static_cast<double>(count);
  }
  std::size_t within = 0;
  for (const double value : values) {
    variance += (value - mean) * (value - mean) / static_cast<double>(count);
    within += std::fabs(value - 3) < 2;
  }
  // Five standard errors of each estimate; the stream is fixed, so the test either always or never passes.
  const double n = static_cast<double>(count);
  EXPECT_NEAR(mean, 3, 5 * 2 / std::sqrt(n));
  EXPECT_NEAR(variance, 4, 5 * 4 * std::sqrt(2 / n));
  EXPECT_NEAR(static_cast<double>(within) / n, 0.6827, 5 * std::sqrt(0.6827 * 0.3173 / n));
}

TEST_P(RandomValues, truncatedNormalPilesUpNothingAtItsBounds) {
  const std::size_t count = 100'000;
  auto random = floats(device, Distribution::normalDistributionDescriptor(0, 1, 1, 2), 12);
  std::size_t atBounds = 0;
  double mean = 0;
  for (const double value : next<double>(random, count)) {
    ASSERT_TRUE(value >= 1 && value <= 2);
    atBounds += value == 1 || value == 2;
    mean += value / static_cast<double>(count);
  }
  EXPECT_LE(atBounds, 4u);  // clamping would put four fifths of them there
  // (density(1) - density(2)) / (Phi(2) - Phi(1)); its standard deviation is below 0.3.
  EXPECT_NEAR(mean, (0.2419707245191434 - 0.05399096651318806) / (0.9772498680518208 - 0.8413447460685429),
              5 * 0.3 / std::sqrt(static_cast<double>(count)));
}

TEST_P(RandomValues, aHalfBoundedNormalIsTruncatedToo) {
  auto random = floats(device, Distribution::normalDistributionDescriptor(0, 1, 0, kInfinity));
  for (const double value : next<double>(random, 1000)) EXPECT_GE(value, 0);
}

TEST_P(RandomValues, unboundedTruncationIsNone) {
  auto plain = floats(device, Distribution::normalDistributionDescriptor(1, 2));
  auto unbounded = floats(device, Distribution::normalDistributionDescriptor(1, 2, -kInfinity, kInfinity));
  EXPECT_EQ(next<double>(plain, 100), next<double>(unbounded, 100));
}

TEST_P(RandomChecks, defaults) {
  const MatrixRandomPhilox random(device);
  EXPECT_EQ(random.destinationDataType(), DataType::uInt32);
  EXPECT_EQ(random.distributionType(), MatrixRandomDistribution::default_);
  EXPECT_EQ(random.seed(), 0u);
  EXPECT_EQ(random.batchStart, 0u);
  EXPECT_EQ(random.batchSize, all);
  EXPECT_EQ(random.nextBlock, 0u);
  EXPECT_EQ(Distribution::defaultDistributionDescriptor(), Distribution());
  EXPECT_EQ(Distribution::normalDistributionDescriptor(0, 1).minimum, -kInfinity);
}

TEST_P(RandomChecks, refusesSettingsWithoutAMeaning) {
  const auto made = [&](DataType type, const Distribution& distribution) {
    return [this, type, distribution] {
      MatrixRandomPhilox random(device, {.destinationDataType = type, .distributionDescriptor = distribution});
    };
  };
  const auto uniform = [&](float minimum, float maximum) {
    return made(DataType::float32, Distribution::uniformDistributionDescriptor(minimum, maximum));
  };
  const auto normal = [&](float mean, float deviation, float minimum, float maximum) {
    return made(DataType::float32, Distribution::normalDistributionDescriptor(mean, deviation, minimum, maximum));
  };
  expectRefused([] { MatrixRandomPhilox random((Device())); }, {"The device of a MatrixRandomPhilox is nil."});
  expectRefused(made(DataType::float32, {}), {"destinationDataType", "float32", "default distribution makes uInt32"});
  expectRefused(made(DataType::uInt32, Distribution::uniformDistributionDescriptor(0, 1)),
                {"uInt32", "uniform distribution makes float32"});
  expectRefused(made(DataType::float16, Distribution::normalDistributionDescriptor(0, 1)), {"float16", "float32"});
  expectRefused(made(DataType::uInt32, {.distributionType = static_cast<MatrixRandomDistribution>(4)}),
                {"distributionType", "4", "does not exist"});
  expectRefused(uniform(1, 0), {"minimum 1 and maximum 0"});
  expectRefused(uniform(kNaN, 0), {"minimum nan"});
  expectRefused(uniform(0, kInfinity), {"maximum inf", "finite"});
  expectRefused(made(DataType::float32, {.distributionType = MatrixRandomDistribution::uniform}), {"-inf", "finite"});
  expectRefused(normal(kNaN, 1, 0, 1), {"mean nan"});
  expectRefused(normal(0, -1, 0, 1), {"standardDeviation -1"});
  expectRefused(normal(0, kInfinity, 0, 1), {"standardDeviation inf"});
  expectRefused(normal(0, 1, 2, 1), {"minimum 2 and maximum 1"});
}

TEST_P(RandomChecks, refusesDestinationsThatDoNotFit) {
  MatrixRandomPhilox random(device);
  random.label = "noise";
  const auto refused = [&](const std::function<void(CommandBuffer&)>& encode,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(device, encode, parts);
    EXPECT_EQ(random.nextBlock, 0u);
  };
  const auto matrix = [&](const Matrix& m) {
    return [&random, m](CommandBuffer& c) { random.encode(c, {.destinationMatrix = m}); };
  };
  const auto vector = [&](const Vector& v) {
    return [&random, v](CommandBuffer& c) { random.encode(c, {.destinationVector = v}); };
  };
  MatrixRandomPhilox advancing(device);
  expectRefusesCommandBuffers(
      device, [&](CommandBuffer& c) { advancing.encode(c, {.destinationMatrix = makeMatrix(device, 2, 2, kWords)}); });
  refused(matrix({}), {"The destinationMatrix is nil.", "While encoding MatrixRandomPhilox \"noise\""});
  refused(vector({}), {"The destinationVector is nil."});
  refused(matrix(makeMatrix(device, 2, 2)), {"destinationMatrix", "float32", "uInt32"});
  refused(vector(makeVector(device, 2)), {"destinationVector", "float32", "uInt32"});
  refused(matrix(makeMatrix(other, 2, 2, kWords)), {"is on device " + other.name()});
  refused(vector(makeVector(other, 2, kWords)), {"is on device " + other.name()});
  random.batchStart = 2;
  refused(matrix(makeMatrix(device, 2, 2, kWords)), {"batchStart", "is 2", "1 matrices"});
  refused(vector(makeVector(device, 2, kWords)), {"batchStart", "is 2", "1 vectors"});
}

TEST_P(RandomChecks, emptyDestinationsTakeNothingOfTheStream) {
  MatrixRandomPhilox random(device);
  const auto encode = [&](const Matrix& m) {
    execute(device, [&](CommandBuffer& commands) { random.encode(commands, {.destinationMatrix = m}); });
  };
  encode(makeMatrix(device, 0, 4, kWords));
  random.batchSize = 0;
  encode(makeMatrix(device, 4, 4, kWords));
  execute(device, [&](CommandBuffer& c) { random.encode(c, {.destinationVector = makeVector(device, 4, kWords)}); });
  EXPECT_EQ(random.nextBlock, 0u);
}

TEST_P(RandomChecks, isUsedThroughItsBase) {
  MatrixRandomPhilox philox(device);
  MatrixRandom& random = philox;
  const Matrix matrix = makeMatrix(device, 2, 2, kWords);
  execute(device, [&](CommandBuffer& commands) { random.encode(commands, {.destinationMatrix = matrix}); });
  EXPECT_EQ(philox.nextBlock, 1u);
}

TEST_P(RandomChecks, isAKernel) {
  const MatrixRandom::Descriptor descriptor{
      .destinationDataType = DataType::float32,
      .seed = 6,
      .distributionDescriptor = Distribution::normalDistributionDescriptor(1, 2, -3, 4)};
  const auto make = [&](const MatrixRandom::Descriptor& d) {
    MatrixRandomPhilox random(device, d);
    random.label = "noise";
    random.batchStart = 1;
    random.batchSize = 2;
    random.nextBlock = 3;
    return random;
  };
  const MatrixRandomPhilox kernel = make(descriptor);
  std::vector<MatrixRandomPhilox> changed(4, kernel);
  changed[0].label = "n";
  changed[1].batchStart = 0;
  changed[2].batchSize = all;
  changed[3].nextBlock = 4;
  const auto add = [&](auto&& change) {
    auto d = descriptor;
    change(d, d.distributionDescriptor);
    changed.push_back(make(d));
  };
  add([](auto& d, auto&) { d.seed = 7; });
  add([](auto&, auto& distribution) { distribution.distributionType = MatrixRandomDistribution::uniform; });
  add([](auto&, auto& distribution) { distribution.minimum = -4; });
  add([](auto&, auto& distribution) { distribution.maximum = 5; });
  add([](auto&, auto& distribution) { distribution.mean = 2; });
  add([](auto&, auto& distribution) { distribution.standardDeviation = 3; });
  changed.push_back(make({.seed = 6}));
  expectBehavesAsKernel(kernel, changed, device, "MatrixRandomPhilox");
  const auto archive = archiveOf(kernel);
  expectMalformed<MatrixRandomPhilox>(forged(archive, "distributionType", 1), device, "bits as float32");
  expectMalformed<MatrixRandomPhilox>(forged(archive, "distributionType", 5), device, "distribution 5");
  expectMalformed<MatrixRandomPhilox>(
      forged(archive, "destinationDataType", static_cast<std::uint64_t>(DataType::float16)), device, "float16");
}

TEST_P(RandomChecks, mtgp32IsUnsupportedAndSaysWhatToUse) {
  const auto unsupported = [](const std::function<void()>& make) {
    try {
      make();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(std::string_view(error.what()).find("seeding"), std::string_view::npos);
      EXPECT_NE(std::string_view(error.what()).find("use MatrixRandomPhilox"), std::string_view::npos);
    }
  };
  unsupported([&] { MatrixRandomMTGP32 random(device); });
  unsupported([&] { MatrixRandomMTGP32 random(device, {.seed = 1}); });
  unsupported([&] {
    Unarchiver coder(archiveOf(MatrixRandomPhilox(device)));
    MatrixRandomMTGP32 random(coder, device);
  });
}

}  // namespace
}  // namespace metalloid::test
