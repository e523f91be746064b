#include "image_conformance/image_trial.hpp"

#include "core/format.hpp"
#include "support/devices.hpp"
#include "support/precision.hpp"

#include <metalloid/command_queue.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include <gtest/gtest.h>

namespace metalloid::image_conformance {
namespace {

constexpr int kMostFailures = 5;       // reported for one operand; the rest would say the same
constexpr double kUntouched = 0.3125;  // in the place of results; exact in every float format

CommandQueue& queueOf(const Device& device) {
  static std::map<std::string, CommandQueue> queues;
  auto [position, isNew] = queues.try_emplace(device.name());
  if (isNew) position->second = device.makeCommandQueue();
  return position->second;
}

DataType typeOf(ImageFeatureChannelFormat format) {
  switch (format) {
    case ImageFeatureChannelFormat::unorm8:
      return DataType::unorm8;
    case ImageFeatureChannelFormat::unorm16:
      return DataType::unorm16;
    case ImageFeatureChannelFormat::float16:
      return DataType::float16;
    default:
      return DataType::float32;
  }
}

/// The error that one rounding to storage can make.
double roundingError(DataType type, double value) {
  if (type == DataType::unorm8) return 0.5 / 255;
  if (type == DataType::unorm16) return 0.5 / 65535;
  return testing::roundingError(type, value);
}

std::vector<double> valuesOf(const ImageBatch& images) {
  std::vector<double> all;
  for (const Image& image : images) {
    const auto values = image.read<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

void writeTo(const ImageBatch& images, const std::vector<double>& values) {
  const std::size_t each = values.size() / images.size();
  for (std::size_t n = 0; n < images.size(); ++n) images[n].write(std::span(values).subspan(n * each, each));
}

bool sameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

}  // namespace

ImageTrial::ImageTrial(const Device& device, const Variant& variant)
    : device_(device), reference_(Device::named("reference")), variant_(variant), random_(variant.seed) {}

std::size_t ImageTrial::size(std::size_t most) { return 1 + random_.below(variant_.isLarge ? 4 * most : most); }

ImageBatch ImageTrial::batchOn(const Device& device, const ImageDescriptor& one, const std::vector<double>& values,
                               std::uint64_t seed) const {
  testing::Random random(seed);
  ImageBatch batch;
  ImageDescriptor together = one;
  switch (variant_.storage) {
    case Storage::block:
      together.numberOfImages = variant_.images;
      batch = Image(device, together).batchRepresentation();
      break;
    case Storage::separate:
      for (std::size_t n = 0; n < variant_.images; ++n) batch.emplace_back(device, one);
      break;
    case Storage::channels: {
      const std::size_t before = 4 * random.below(3);
      together.featureChannels += before + random.below(7);
      for (std::size_t n = 0; n < variant_.images; ++n)
        batch.push_back(Image(device, together).subImage({before, together.featureChannels - before}));
      // A view goes to the last channel or has a multiple of 4; where it has more than are wanted, whole images do.
      if (batch.front().featureChannels() != one.featureChannels) {
        batch.clear();
        for (std::size_t n = 0; n < variant_.images; ++n) {
          together.featureChannels = before + one.featureChannels;
          batch.push_back(Image(device, together).subImage({before, one.featureChannels}));
        }
      }
      break;
    }
    case Storage::container: {
      together.numberOfImages = 2 * variant_.images + 1;
      const ImageBatch contained = Image(device, together).batchRepresentation();
      for (std::size_t n = 0; n < variant_.images; ++n) batch.push_back(contained[2 * variant_.images - 2 * n]);
      break;
    }
  }
  writeTo(batch, values);
  return batch;
}

Operand& ImageTrial::make(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                          std::size_t channels, bool isResult, const std::function<double()>& draw) {
  Operand& operand = operands_.emplace_back();
  operand.name_ = std::move(name);
  operand.isResult_ = isResult;
  operand.type_ = typeOf(format);
  std::vector<double> values(variant_.images * width * height * channels);
  for (double& value : values) value = draw();
  const ImageDescriptor one{.channelFormat = format, .width = width, .height = height, .featureChannels = channels};
  const std::uint64_t seed = random_.bits();
  operand.images_ = batchOn(device_, one, values, seed);
  operand.referenceImages_ = batchOn(reference_, one, values, seed);
  operand.values_ = valuesOf(operand.images_);
  return operand;
}

Operand& ImageTrial::source(std::string name, std::size_t width, std::size_t height, std::size_t channels,
                            Range range) {
  return source(std::move(name), variant_.format, width, height, channels,
                [=, this] { return random_.uniform(range.lower, range.upper); });
}
Operand& ImageTrial::source(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                            std::size_t channels, const std::function<double()>& draw) {
  return make(std::move(name), format, width, height, channels, false, draw);
}
Operand& ImageTrial::result(std::string name, std::size_t width, std::size_t height, std::size_t channels) {
  return result(std::move(name), variant_.format, width, height, channels);
}
Operand& ImageTrial::result(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                            std::size_t channels) {
  return make(std::move(name), format, width, height, channels, true, [] { return kUntouched; });
}

Operand& ImageTrial::sourceVector(std::string name, std::size_t length, Range range) {
  Operand& operand = operands_.emplace_back();
  operand.name_ = std::move(name);
  std::vector<double> values(length);
  for (double& value : values) value = random_.uniform(range.lower, range.upper);
  operand.vector_ = Vector(device_, {.length = length});
  operand.referenceVector_ = Vector(reference_, {.length = length});
  operand.vector_.write(values);
  operand.referenceVector_.write(values);
  operand.values_ = operand.vector_.read<double>();
  return operand;
}

Operand& ImageTrial::resultVector(std::string name, std::size_t length) {
  Operand& operand = sourceVector(std::move(name), length, {kUntouched, kUntouched});
  operand.isResult_ = true;
  return operand;
}

void ImageTrial::run(const std::function<void(const Device&, CommandBuffer&)>& encode) {
  const auto runOn = [&](const Device& device) {
    for (Operand& operand : operands_) operand.onReference_ = device == reference_ && device_ != reference_;
    CommandBuffer commands = queueOf(device).makeCommandBuffer();
    encode(device, commands);
    commands.commit();
    commands.waitUntilCompleted();
  };
  const testing::ThreadsOf restored(device_);
  std::vector<std::vector<double>> first;
  for (const std::size_t threads : {1, 1, 2, 3, 4}) {
    device_.setNumberOfThreads(threads);
    std::size_t index = 0;
    if (!first.empty()) {
      for (Operand& operand : operands_) {
        if (!operand.isResult_) continue;
        if (operand.vector_) {
          operand.vector_.write(operand.values_);
        } else {
          writeTo(operand.images_, operand.values_);
        }
      }
    }
    runOn(device_);
    const bool isFirst = first.empty();
    for (Operand& operand : operands_) {
      if (!operand.isResult_) continue;
      auto values = operand.vector_ ? operand.vector_.read<double>() : valuesOf(operand.images_);
      if (isFirst) {
        first.push_back(std::move(values));
      } else {
        EXPECT_TRUE(sameBits(values, first[index])) << operand.name_ << ": other bits with " << threads << " threads";
      }
      ++index;
    }
    if (first.empty() || device_ == reference_) break;
  }
  if (device_ != reference_) runOn(reference_);
}

void ImageTrial::compare(const Operand& operand, double terms, double magnitude) {
  const auto actual = operand.vector_ ? operand.vector_.read<double>() : valuesOf(operand.images_);
  const auto expected = operand.vector_ ? operand.referenceVector_.read<double>() : valuesOf(operand.referenceImages_);
  ASSERT_EQ(actual.size(), expected.size()) << operand.name_;
  if (magnitude == 0) {
    for (const double value : expected) {
      if (std::isfinite(value)) magnitude = std::max(magnitude, std::fabs(value));
    }
  }
  int failures = 0;
  for (std::size_t i = 0; i < actual.size() && failures < kMostFailures; ++i) {
    const double bound = terms * 0x1p-24 * magnitude;
    // Both are rounded to storage.
    const double tolerance = bound + 2 * roundingError(operand.type_, std::fabs(expected[i]) + bound);
    const bool same = std::isnan(expected[i])
                          ? std::isnan(actual[i])
                          : actual[i] == expected[i] || std::fabs(actual[i] - expected[i]) <= tolerance;
    if (same) continue;
    ++failures;
    ADD_FAILURE() << fmt::format("{}[{}] is {}, expected {} +- {}", operand.name_, i, actual[i], expected[i],
                                 tolerance);
  }
}

}  // namespace metalloid::image_conformance
