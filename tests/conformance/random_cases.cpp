#include "conformance/cases.hpp"

#include <metalloid/matrix_random.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace metalloid::conformance {
namespace {

/// Philox 4x32-10 as its authors write it.
std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t block) {
  std::array<std::uint32_t, 4> x = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0};
  std::uint32_t key[2] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * x[0], b = std::uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<std::uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<std::uint32_t>(a)};
  }
  return x;
}

double cumulative(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

/// The x with cumulative(x) = p, by Newton's steps kept inside a shrinking bracket.
double quantile(double p) {
  if (p > 0.5) return -quantile(1 - p);  // in the lower tail nothing cancels
  double low = -40, high = 0, x = -1;
  for (int step = 0; step < 200; ++step) {
    const double error = cumulative(x) - p;
    (error > 0 ? high : low) = x;
    const double slope = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    double next = x - error / slope;
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (std::fabs(next - x) <= 1e-16 * std::fabs(x)) return next;
    x = next;
  }
  return x;
}

template <MatrixRandomDistribution kDistribution>
void philoxCase(Trial& t) {
  using enum MatrixRandomDistribution;
  const std::size_t rows = t.size(0), columns = t.size(1);
  const bool isVector = t.choice(), isTruncated = kDistribution == normal && t.choice();
  const DataType type = kDistribution == default_ ? DataType::uInt32 : DataType::float32;
  const Trial::Making making{.type = type, .isResult = true};
  auto& result = isVector ? t.vector("destinationVector", rows * columns, making)
                          : t.matrix("destinationMatrix", rows, columns, making);
  const std::uint64_t seed = t.random().bits();
  const double lower = -1.5, upper = 0.75, mean = 0.25, deviation = 2;
  MatrixRandomPhilox kernel(
      t.device(),
      {.destinationDataType = type,
       .seed = seed,
       .distributionDescriptor =
           kDistribution == default_  ? MatrixRandomDistributionDescriptor::defaultDistributionDescriptor()
           : kDistribution == uniform ? MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(-1.5f, 0.75f)
           : isTruncated ? MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0.25f, 2, -1.5f, 0.75f)
                         : MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0.25f, 2)});
  kernel.nextBlock = t.random().coin() ? 0 : (std::uint64_t{1} << 32) - 2;  // the counter's carry
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    MatrixRandomPhilox generator = kernel;  // an encode advances it
    if (isVector) {
      generator.encode(commands, MatrixRandom::VectorArguments{.destinationVector = result.vector});
    } else {
      generator.encode(commands, MatrixRandom::MatrixArguments{.destinationMatrix = result.matrix});
    }
  });

  std::size_t element = 0;
  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < result.rows(); ++i) {
      for (std::size_t j = 0; j < result.columns(); ++j, ++element) {
        const std::uint32_t word = philox(seed, kernel.nextBlock + element / 4)[element % 4];
        double value = word;
        if (kDistribution == uniform) value = lower + (upper - lower) * ((word >> 9) * 0x1p-23);
        if (kDistribution == normal) {
          double p = ((word >> 9) + 0.5) * 0x1p-23;
          const double below = cumulative((lower - mean) / deviation), above = cumulative((upper - mean) / deviation);
          if (isTruncated) p = below + p * (above - below);
          value = mean + deviation * quantile(p);
        }
        // The default and the uniform distribution round once from exact numbers. Normal ones are computed in double
        // precision, where both ways to the quantile carry a few roundings of probabilities.
        t.expect(result, k, i, j, Approximation(value, kDistribution == normal ? 1e-13 : 0));
      }
    }
  }
}

}  // namespace

std::vector<Case> randomCases() {
  using enum MatrixRandomDistribution;
  const auto make = [](const char* name, void (*run)(Trial&), int choices) {
    Case c{name, run, kSmallMatrices, {{131, 67}, {32769, 3}, {3, 32769}}, choices, Matrices::batch, {kFloat32}};
    c.hasOrigins = false;
    return c;
  };
  return {make("RandomPhiloxBits", philoxCase<default_>, 1), make("RandomPhiloxUniform", philoxCase<uniform>, 1),
          make("RandomPhiloxNormal", philoxCase<normal>, 2)};
}

}  // namespace metalloid::conformance
