// Convolutions and their gradients against what PyTorch computes in float64 (make_convolution_vectors.py).
//
// Expected values carry one rounding to float32. Ours may carry one for each term of a sum, each at most as large as
// the sum of the terms' sizes; all numbers are at most 1.

#include "support/convolution.hpp"
#include "formats/safetensors.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

const formats::TensorView& tensor(const std::string& name) {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/convolution.safetensors");
  const auto* const found = file.find(name);
  if (!found) throw std::runtime_error("convolution.safetensors holds no " + name);
  return *found;
}

std::vector<float> values(const std::string& name) { return formats::floatValues(tensor(name)); }

class PyTorchConvolution : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  ImageBatch images(const std::string& name, bool withValues) const {
    const auto& shape = tensor(name).shape;
    const Image all(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                             .width = shape.at(2),
                             .height = shape.at(1),
                             .featureChannels = shape.at(3),
                             .numberOfImages = shape.at(0)});
    if (withValues) all.write(std::span<const float>(values(name)));
    return all.batchRepresentation();
  }

  static std::vector<float> read(const ImageBatch& batch) { return batch.front().parent().read<float>(); }

  /// The reference sums in double and rounds once.
  void expectClose(const std::vector<float>& actual, const std::string& name, std::size_t terms) const {
    const auto expected = values(name);
    ASSERT_EQ(actual.size(), expected.size()) << name;
    const auto n = static_cast<double>(terms);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double sum = device.name() == "reference" ? 0 : n * n;
      EXPECT_NEAR(actual[i], expected[i], 0x1p-24 * (sum + 2 * std::fabs(static_cast<double>(expected[i]))))
          << name << "[" << i << "]";
    }
  }

  template <class Forward, class Gradient, class Configure>
  void check(const std::string& name, const Configure& configure) const {
    SCOPED_TRACE(name);
    const auto numbers = values(name + ".parameters");
    const auto number = [&](std::size_t i) { return static_cast<std::size_t>(numbers.at(i)); };
    const auto& x = tensor(name + ".x").shape;
    const auto& y = tensor(name + ".y").shape;
    const CNNConvolutionDescriptor descriptor{.kernelWidth = number(0),
                                              .kernelHeight = number(1),
                                              .inputFeatureChannels = x.at(3),
                                              .outputFeatureChannels = y.at(3),
                                              .strideInPixelsX = number(2),
                                              .strideInPixelsY = number(3),
                                              .groups = number(8),
                                              .dilationRateX = number(6),
                                              .dilationRateY = number(7)};
    Forward forward(device, testing::weightsOf(descriptor, values(name + ".w"), values(name + ".b")));
    configure(forward, static_cast<std::ptrdiff_t>(number(4)), static_cast<std::ptrdiff_t>(number(5)));
    Gradient gradient(device, forward.sharedWeights());
    const auto sources = images(name + ".x", true), results = images(name + ".y", false),
               gradients = images(name + ".dy", true), made = images(name + ".dx", false);
    StateBatch states;
    testing::execute(device, [&](CommandBuffer& commands) {
      forward.encodeBatch(commands,
                          {.sourceImages = sources, .destinationStates = &states, .destinationImages = results});
      gradient.encodeBatch(commands, {.sourceGradients = gradients,
                                      .sourceImages = sources,
                                      .gradientStates = states,
                                      .destinationGradients = made});
    });
    const std::size_t taps = descriptor.kernelWidth * descriptor.kernelHeight, groups = descriptor.groups;
    expectClose(read(results), name + ".y", taps * x.at(3) / groups + 1);
    expectClose(read(made), name + ".dx", taps * y.at(3) / groups);
    const CNNConvolutionGradientState state(states.front());
    const std::size_t pixels = y.at(0) * y.at(1) * y.at(2);
    expectClose(state.gradientForWeights().read<float>(), name + ".dw", pixels);
    expectClose(state.gradientForBiases().read<float>(), name + ".db", pixels);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, PyTorchConvolution, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(PyTorchConvolution, Convolution) {
  for (const char* const name : {"plain", "stride", "dilation", "groups", "depthwise", "pointwise"}) {
    check<CNNConvolution, CNNConvolutionGradient>(
        std::string("convolution.") + name, [](CNNConvolution& kernel, std::ptrdiff_t padX, std::ptrdiff_t padY) {
          // PyTorch's first window begins `pad` pixels before the source; ours has its centre at the offset.
          const auto half = [](std::size_t taps, std::size_t dilation) {
            return static_cast<std::ptrdiff_t>(((taps - 1) * dilation + 1) / 2);
          };
          kernel.offset = {half(kernel.kernelWidth(), kernel.dilationRateX()) - padX,
                           half(kernel.kernelHeight(), kernel.dilationRateY()) - padY, 0};
        });
  }
}

TEST_P(PyTorchConvolution, Transpose) {
  for (const char* const name : {"plain", "stride", "dilation", "groups"}) {
    check<CNNConvolutionTranspose, CNNConvolutionTransposeGradient>(
        std::string("transpose.") + name,
        [](CNNConvolutionTranspose& kernel, std::ptrdiff_t padX, std::ptrdiff_t padY) {
          // PyTorch's full result less `pad` pixels on each side: the first window would end at the first pixel.
          const auto first = [](std::size_t taps, std::size_t dilation, std::ptrdiff_t pad) {
            const auto reach = static_cast<std::ptrdiff_t>((taps - 1) * dilation);
            return (reach + 1) / 2 - reach + pad;
          };
          kernel.kernelOffsetX = first(kernel.kernelWidth(), kernel.dilationRateX(), padX);
          kernel.kernelOffsetY = first(kernel.kernelHeight(), kernel.dilationRateY(), padY);
        });
  }
}

}  // namespace
}  // namespace metalloid
