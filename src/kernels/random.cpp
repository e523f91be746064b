#include "operations/random.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/error.hpp>
#include <metalloid/matrix_random.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid {
namespace {

using detail::Encoding;
using operations::MatrixView;
using Distribution = operations::MatrixRandom::Distribution;

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

std::string_view nameOf(MatrixRandomDistribution distribution) {
  switch (distribution) {
    case MatrixRandomDistribution::default_:
      return "default";
    case MatrixRandomDistribution::uniform:
      return "uniform";
    case MatrixRandomDistribution::normal:
      return "normal";
  }
  return "unknown";
}

void check(std::string_view className, DataType type, const MatrixRandomDistributionDescriptor& d) {
  const bool isFloat =
      d.distributionType == MatrixRandomDistribution::uniform || d.distributionType == MatrixRandomDistribution::normal;
  if (!isFloat && d.distributionType != MatrixRandomDistribution::default_) {
    refuse(fmt::format("The distributionType of a {} is {}, which does not exist.", className,
                       static_cast<std::uint64_t>(d.distributionType)));
  }
  const DataType expected = isFloat ? DataType::float32 : DataType::uInt32;
  if (type != expected) {
    refuse(fmt::format("The destinationDataType of a {} is {}, but the {} distribution makes {}.", className,
                       name(type), nameOf(d.distributionType), name(expected)));
  }
  if (!isFloat) return;
  if (!(d.minimum <= d.maximum)) {
    refuse(fmt::format("The {} distribution of a {} has minimum {} and maximum {}.", nameOf(d.distributionType),
                       className, d.minimum, d.maximum));
  }
  if (d.distributionType == MatrixRandomDistribution::uniform) {
    if (!std::isfinite(d.minimum) || !std::isfinite(d.maximum)) {
      refuse(fmt::format("The uniform distribution of a {} has minimum {} and maximum {}, but both must be finite.",
                         className, d.minimum, d.maximum));
    }
    return;
  }
  if (!std::isfinite(d.mean) || !std::isfinite(d.standardDeviation) || d.standardDeviation < 0) {
    refuse(
        fmt::format("The normal distribution of a {} has mean {} and standardDeviation {}, but both must be finite "
                    "and the latter at least 0.",
                    className, d.mean, d.standardDeviation));
  }
}

Distribution kindOf(const MatrixRandomDistributionDescriptor& d) {
  switch (d.distributionType) {
    case MatrixRandomDistribution::uniform:
      return Distribution::uniform;
    case MatrixRandomDistribution::normal:
      return std::isinf(d.minimum) && std::isinf(d.maximum) && d.minimum < d.maximum ? Distribution::normal
                                                                                     : Distribution::truncatedNormal;
    case MatrixRandomDistribution::default_:
      break;
  }
  return Distribution::bits;
}

operations::MatrixRandom operationOf(const MatrixRandomPhilox& kernel, const MatrixView& result) {
  const auto& distribution = kernel.distributionDescriptor();
  return {.result = result,
          .seed = kernel.seed(),
          .firstBlock = kernel.nextBlock,
          .distribution = kindOf(distribution),
          .minimum = distribution.minimum,
          .maximum = distribution.maximum,
          .mean = distribution.mean,
          .standardDeviation = distribution.standardDeviation};
}

/// The blocks of four words that the elements of `result` take.
std::uint64_t blocksFor(const MatrixView& result) {
  const std::uint64_t elements = std::uint64_t{result.matrices} * result.rows * result.columns;
  return elements / 4 + (elements % 4 != 0 ? 1 : 0);
}

[[noreturn]] void refuseMTGP32() {
  throw Error(ErrorCode::unsupported,
              "MatrixRandomMTGP32 is not available: the stream of Apple's generator cannot be reproduced from the "
              "published seeding of MTGP32; use MatrixRandomPhilox.");
}

}  // namespace

MatrixRandomDistributionDescriptor MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(float lowest,
                                                                                                     float bound) {
  return {.distributionType = MatrixRandomDistribution::uniform, .minimum = lowest, .maximum = bound};
}

MatrixRandomDistributionDescriptor MatrixRandomDistributionDescriptor::normalDistributionDescriptor(float center,
                                                                                                    float deviation) {
  return {.distributionType = MatrixRandomDistribution::normal, .mean = center, .standardDeviation = deviation};
}

MatrixRandomDistributionDescriptor MatrixRandomDistributionDescriptor::normalDistributionDescriptor(float center,
                                                                                                    float deviation,
                                                                                                    float lowest,
                                                                                                    float highest) {
  return {.distributionType = MatrixRandomDistribution::normal,
          .minimum = lowest,
          .maximum = highest,
          .mean = center,
          .standardDeviation = deviation};
}

MatrixRandom::MatrixRandom(const Device& device, std::string_view className, const Descriptor& descriptor)
    : Kernel(device, className),
      destinationDataType_(descriptor.destinationDataType),
      distribution_(descriptor.distributionDescriptor) {
  check(className, destinationDataType_, distribution_);
}

void MatrixRandom::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("batchStart", batchStart);
  visitor.visit("batchSize", batchSize);
  visitor.visit("destinationDataType", destinationDataType_);
  visitor.visit("distributionType", distribution_.distributionType);
  visitor.visit("minimum", distribution_.minimum);
  visitor.visit("maximum", distribution_.maximum);
  visitor.visit("mean", distribution_.mean);
  visitor.visit("standardDeviation", distribution_.standardDeviation);
  try {
    check("MatrixRandom", destinationDataType_, distribution_);  // what an archive says, as what a constructor is given
  } catch (const Error& error) {
    detail::refuseSetting("MatrixRandom", "distribution", error.message());
  }
}

MatrixRandomPhilox::MatrixRandomPhilox(const Device& device) : MatrixRandomPhilox(device, Descriptor()) {}

MatrixRandomPhilox::MatrixRandomPhilox(const Device& device, const Descriptor& descriptor)
    : MatrixRandom(device, "MatrixRandomPhilox", descriptor), seed_(descriptor.seed) {}

MatrixRandomPhilox::MatrixRandomPhilox(Unarchiver& coder, const Device& device) : MatrixRandomPhilox(device) {
  decode(coder);
}

void MatrixRandomPhilox::encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) {
  Encoding encoding(*this, commandBuffer);
  auto destination = encoding.result("destinationVector", arguments.destinationVector);
  encoding.requireType(destination, {destinationDataType()});
  if (batchStart > destination.vectors()) {
    encoding.refuse(fmt::format("The batchStart of {} is {}, but its destinationVector holds {} vectors.",
                                encoding.kernelName(), batchStart, destination.vectors()));
  }
  const detail::Batch batch{.start = batchStart, .count = std::min(batchSize, destination.vectors() - batchStart)};
  const auto view = destination.view(destination.length(), batch);
  const MatrixView result{.data = view.data,
                          .rows = 1,
                          .columns = view.length,
                          .rowBytes = view.vectorBytes,
                          .matrices = batch.count,
                          .matrixBytes = view.vectorBytes,
                          .type = view.type};
  encoding.record(operationOf(*this, result));
  nextBlock += blocksFor(result);
}

void MatrixRandomPhilox::encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) {
  Encoding encoding(*this, commandBuffer);
  auto destination = encoding.result("destinationMatrix", arguments.destinationMatrix);
  encoding.requireType(destination, {destinationDataType()});
  const auto batch = encoding.batch(batchStart, batchSize, {&destination});
  const auto result = destination.view(destination.rows(), destination.columns(), batch);
  encoding.record(operationOf(*this, result));
  nextBlock += blocksFor(result);
}

MatrixRandomPhilox MatrixRandomPhilox::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixRandomPhilox::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixRandom::visitSettings(visitor);
  visitor.visit("seed", seed_);
  visitor.visit("nextBlock", nextBlock);
}

MatrixRandomMTGP32::MatrixRandomMTGP32(const Device& device) : MatrixRandomMTGP32(device, Descriptor()) {}

MatrixRandomMTGP32::MatrixRandomMTGP32(const Device& device, const Descriptor&)
    : MatrixRandom((refuseMTGP32(), device), "MatrixRandomMTGP32", {}) {}

MatrixRandomMTGP32::MatrixRandomMTGP32(Unarchiver&, const Device& device) : MatrixRandomMTGP32(device) {}

void MatrixRandomMTGP32::encode(CommandBuffer&, const VectorArguments&) { refuseMTGP32(); }
void MatrixRandomMTGP32::encode(CommandBuffer&, const MatrixArguments&) { refuseMTGP32(); }
void MatrixRandomMTGP32::synchronizeState(CommandBuffer&) const { refuseMTGP32(); }

}  // namespace metalloid
