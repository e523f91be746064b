#include "kernels/convolution_loading.hpp"

#include "core/checked_size.hpp"
#include "core/format.hpp"
#include "kernels/convolution_state.hpp"
#include "math/float16.hpp"

#include <metalloid/error.hpp>
#include <metalloid/geometry.hpp>

#include <cmath>
#include <cstring>
#include <span>
#include <utility>

namespace metalloid::detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

void requireCount(std::string_view name, std::string_view what, std::size_t count, std::size_t expected) {
  if (count == expected) return;
  refuse(fmt::format("{} has {} {}, but its descriptor makes it {}.", name, count, what, expected));
}

std::string text(const CNNConvolutionDescriptor& d) {
  return fmt::format("{} x {} x {} x {} weights", d.outputFeatureChannels, d.kernelHeight, d.kernelWidth,
                     d.isDepthWise ? 1 : d.inputFeatureChannels / d.groups);
}

template <class T>
std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T element{};
    std::memcpy(static_cast<void*>(&element), bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<float>(element);
  }
  return values;
}

/// Weights of one byte, as the data source says what they mean.
void dequantize(std::string_view name, CNNConvolutionDataSource& source, const CNNConvolutionDescriptor& descriptor,
                std::vector<float>& weights) {
  switch (source.weightsQuantizationType()) {
    case CNNWeightsQuantizationType::linear: {
      const auto ranges = source.rangesForUInt8Kernel();
      requireCount(name, "ranges for uInt8 weights", ranges.size(), descriptor.outputFeatureChannels);
      const std::size_t each = weights.size() / ranges.size();
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const auto& [lower, upper] = ranges[i / each];
        weights[i] = weights[i] / 255 * (upper - lower) + lower;
      }
      return;
    }
    case CNNWeightsQuantizationType::lookupTable: {
      const auto table = source.lookupTableForUInt8Kernel();
      requireCount(name, "numbers in its lookup table for uInt8 weights", table.size(), 256);
      for (float& weight : weights) weight = table[static_cast<std::size_t>(weight)];
      return;
    }
    default:
      refuse(fmt::format("{} has uInt8 weights, but a weightsQuantizationType of {}: linear or lookupTable is needed.",
                         name, static_cast<std::uint32_t>(source.weightsQuantizationType())));
  }
}

void fold(std::string_view name, const CNNConvolutionBatchNormalization& n, std::size_t channels, HostWeights& host) {
  const auto check = [&](std::string_view what, const std::vector<float>& values) {
    if (!values.empty())
      requireCount(name, fmt::format("{} of its batch normalization", what), values.size(), channels);
  };
  check("means", n.mean);
  check("variances", n.variance);
  check("gammas", n.gamma);
  check("betas", n.beta);
  const auto or_ = [](const std::vector<float>& values, std::size_t k, double absent) {
    return values.empty() ? absent : static_cast<double>(values[k]);
  };
  if (host.biases.empty()) host.biases.resize(channels);
  const std::size_t each = host.weights.size() / channels;
  for (std::size_t k = 0; k < channels; ++k) {
    double factor = or_(n.gamma, k, 1);
    if (!n.variance.empty()) factor /= std::sqrt(static_cast<double>(n.variance[k]) + static_cast<double>(n.epsilon));
    const double shift = or_(n.beta, k, 0) - factor * or_(n.mean, k, 0);
    for (std::size_t i = k * each; i < (k + 1) * each; ++i)
      host.weights[i] = static_cast<float>(static_cast<double>(host.weights[i]) * factor);
    host.biases[k] = static_cast<float>(static_cast<double>(host.biases[k]) * factor + shift);
  }
}

HostWeights readLoaded(std::string_view name, CNNConvolutionDataSource& source,
                       const CNNConvolutionDescriptor& descriptor) {
  const std::size_t count = weightCount(descriptor, name);
  if (source.weightsLayout() != CNNConvolutionWeightsLayout::OHWI)
    refuse(fmt::format("{} has a weightsLayout other than OHWI.", name));
  const DataType type = source.dataType();
  if (type != DataType::float32 && type != DataType::float16 && type != DataType::uInt8) {
    refuse(fmt::format("{} has weights of type {}, but float32, float16 and uInt8 are possible.", name,
                       metalloid::name(type)));
  }
  const auto bytes = source.weights();
  if (bytes.size() != count * sizeOfDataType(type)) {
    refuse(fmt::format("{} gives {} bytes of weights, but its descriptor makes it {}: {} of type {}.", name,
                       bytes.size(), count * sizeOfDataType(type), text(descriptor), metalloid::name(type)));
  }
  HostWeights host;
  switch (type) {
    case DataType::float16:
      host.weights = floats<math::Float16>(bytes);
      break;
    case DataType::uInt8:
      host.weights = floats<std::uint8_t>(bytes);
      dequantize(name, source, descriptor, host.weights);
      break;
    default:
      host.weights = floats<float>(bytes);
  }
  const auto biases = source.biasTerms();
  if (!biases.empty()) requireCount(name, "biases", biases.size(), descriptor.outputFeatureChannels);
  host.biases.assign(biases.begin(), biases.end());
  if (descriptor.batchNormalization) fold(name, *descriptor.batchNormalization, descriptor.outputFeatureChannels, host);
  return host;
}

void requireShape(std::string_view name, const CNNConvolutionDescriptor& d) {
  constexpr std::size_t kMost = std::size_t{1} << 31;
  const std::pair<const char*, std::size_t> sizes[] = {
      {"kernelWidth", d.kernelWidth},
      {"kernelHeight", d.kernelHeight},
      {"inputFeatureChannels", d.inputFeatureChannels},
      {"outputFeatureChannels", d.outputFeatureChannels},
      {"strideInPixelsX", d.strideInPixelsX},
      {"strideInPixelsY", d.strideInPixelsY},
      {"groups", d.groups},
      {"dilationRateX", d.dilationRateX},
      {"dilationRateY", d.dilationRateY},
      {"subPixelScaleFactor", d.subPixelScaleFactor},
  };
  for (const auto& [what, value] : sizes) {
    if (value == 0 || value > kMost)
      refuse(fmt::format("The {} of {} is {}, which is not possible.", what, name, value));
  }
  if (d.kernelWidth > kMost / d.dilationRateX || d.kernelHeight > kMost / d.dilationRateY)
    refuse(fmt::format("The dilated window of {} is too large.", name));
  if (d.inputFeatureChannels % d.groups != 0 || d.outputFeatureChannels % d.groups != 0) {
    refuse(fmt::format("{} has {} groups, which do not divide its {} input and {} output channels.", name, d.groups,
                       d.inputFeatureChannels, d.outputFeatureChannels));
  }
  if (d.isDepthWise && d.groups != 1)
    refuse(fmt::format("{} is depth-wise and has {} groups, but must have 1.", name, d.groups));
  if (d.isDepthWise && d.outputFeatureChannels % d.inputFeatureChannels != 0) {
    refuse(fmt::format("{} is depth-wise, but its {} output channels are no multiple of its {} input channels.", name,
                       d.outputFeatureChannels, d.inputFeatureChannels));
  }
  const std::size_t r = d.subPixelScaleFactor;
  if (r > kMost / r || d.outputFeatureChannels % (r * r) != 0) {
    refuse(fmt::format("{} has a subPixelScaleFactor of {}, whose square does not divide its {} output channels.", name,
                       r, d.outputFeatureChannels));
  }
}

}  // namespace

std::size_t weightCount(const CNNConvolutionDescriptor& d, std::string_view name) {
  requireShape(name, d);
  const CheckedSize each = d.isDepthWise ? CheckedSize(1) : CheckedSize(d.inputFeatureChannels / d.groups);
  const auto count = (CheckedSize(d.outputFeatureChannels) * d.kernelHeight * d.kernelWidth * each).value();
  if (!count || *count > all / 16) refuse(fmt::format("{} has more weights than there is memory.", name));
  return *count;
}

std::string nameOf(std::string_view className, const CNNConvolutionDataSource& source) {
  const std::string label = source.label();
  return label.empty() ? std::string(className) : fmt::format("{} \"{}\"", className, label);
}

LoadedLayer load(std::string_view className, CNNConvolutionDataSource& source) {
  const std::string name = nameOf(className, source);
  if (!source.load()) refuse(fmt::format("The load() of the data source of {} returned false.", name));
  LoadedLayer layer;
  try {
    layer.descriptor = source.descriptor();
    layer.values = readLoaded(name, source, layer.descriptor);
  } catch (...) {
    source.purge();
    throw;
  }
  source.purge();
  return layer;
}

}  // namespace metalloid::detail
