#include "kernels/image_geometry.hpp"
#include "kernels/kernel_checks.hpp"
#include "operations/cnn_local_normalization.hpp"

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_neuron.hpp>
#include <metalloid/nn_padding.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using enum NNPaddingMethod;

const Device kDevice = Device::named("reference");

/// A kernel with a window, of which it copies the pixel that the window stands on.
class Probe : public CNNKernel {
 public:
  explicit Probe(const detail::KernelShape& shape, bool enlarges = false)
      : CNNKernel(kDevice, "Probe"), enlarges_(enlarges) {
    shape_ = shape;
  }
  bool isBackwards() const override { return enlarges_; }

 protected:
  bool hasWindow() const override { return true; }
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override {
    auto views = detail::windowedViews(encoding, *this, operands);
    encoding.record(operations::CNNSpatialNormalization{.source = std::move(views.source),
                                                        .result = std::move(views.result),
                                                        .window = views.window,
                                                        .edgeMode = edgeMode,
                                                        .beta = 0});
  }

 private:
  bool enlarges_;
};

Image imageOf(std::size_t width, std::size_t height, std::size_t channels = 1) {
  const Image image(kDevice, {.channelFormat = ImageFeatureChannelFormat::float32,
                              .width = width,
                              .height = height,
                              .featureChannels = channels});
  std::vector<float> values(width * height * channels);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  image.write(values);
  return image;
}

struct Sized {
  std::size_t width, height;
  std::ptrdiff_t x, y;
  friend bool operator==(const Sized&, const Sized&) = default;
};
void PrintTo(const Sized& sized, std::ostream* stream) {
  *stream << sized.width << " x " << sized.height << " at (" << sized.x << ", " << sized.y << ")";
}

Sized sized(Probe& kernel, std::size_t width, std::size_t height) {
  const auto descriptor = kernel.destinationImageDescriptor({imageOf(width, height)});
  return {descriptor.width, descriptor.height, kernel.offset.x, kernel.offset.y};
}

/// Along both axes.
Sized square(NNPaddingMethod method, std::size_t n, std::size_t k, std::size_t s, std::size_t dilation = 1) {
  Probe kernel({.kernelWidth = k,
                .kernelHeight = k,
                .strideInPixelsX = s,
                .strideInPixelsY = s,
                .dilationRateX = dilation,
                .dilationRateY = dilation});
  kernel.padding = NNDefaultPadding::paddingWithMethod(method);
  return sized(kernel, n, n);
}

Sized both(std::size_t size, std::ptrdiff_t offset) { return {size, size, offset, offset}; }

// --- Bits -----------------------------------------------------------------------------------------------------------

TEST(PaddingMethod, NumbersAreApples) {
  const auto number = [](NNPaddingMethod method) { return static_cast<std::uint32_t>(method); };
  EXPECT_EQ(number(alignCentered), 0u);
  EXPECT_EQ(number(alignTopLeft), 1u);
  EXPECT_EQ(number(alignBottomRight), 2u);
  EXPECT_EQ(number(alignMask), 3u);
  EXPECT_EQ(number(addRemainderToTopLeft), 0u);
  EXPECT_EQ(number(addRemainderToTopRight), 4u);
  EXPECT_EQ(number(addRemainderToBottomLeft), 8u);
  EXPECT_EQ(number(addRemainderToBottomRight), 12u);
  EXPECT_EQ(number(addRemainderToMask), 12u);
  EXPECT_EQ(number(sizeValidOnly), 0u);
  EXPECT_EQ(number(sizeSame), 16u);
  EXPECT_EQ(number(sizeFull), 32u);
  EXPECT_EQ(number(sizeMask), 0x7f0u);
  EXPECT_EQ(number(customAllowForNodeFusion), 0x2000u);
  EXPECT_EQ(number(customWhitelistForNodeFusion), 0x2000u);
  EXPECT_EQ(number(custom), 0x4000u);
  EXPECT_EQ(number(excludeEdges), 0x8000u);
  EXPECT_TRUE(contains(sizeSame | alignTopLeft, alignTopLeft));
  EXPECT_FALSE(contains(sizeSame, custom));
}

TEST(DefaultPadding, HasNoReservedBits) {
  expectRefused([] { NNDefaultPadding::paddingWithMethod(alignMask); }, {"0x3", "reserved"});
  expectRefused([] { NNDefaultPadding::paddingWithMethod(static_cast<NNPaddingMethod>(48)); }, {"0x30", "reserved"});
  expectRefused([] { NNDefaultPadding::paddingWithMethod(static_cast<NNPaddingMethod>(64)); }, {"0x40", "reserved"});
  expectRefused([] { NNDefaultPadding::paddingWithMethod(custom | sizeSame); }, {"custom", "NNPadding"});
}

TEST(DefaultPadding, IsNamedByWhatItDoes) {
  EXPECT_EQ(NNDefaultPadding(sizeSame).label(), "same size");
  EXPECT_EQ(NNDefaultPadding(sizeFull | alignTopLeft).label(), "full size, padding on top left");
  EXPECT_EQ(NNDefaultPadding(alignBottomRight | excludeEdges).label(),
            "valid only, padding on bottom right, edges excluded");
  EXPECT_FALSE(NNDefaultPadding(sizeSame).inverse());
}

TEST(Padding, IsSameSizeCentredWithTheRemainderOnTopLeft) {
  const Probe kernel({.kernelWidth = 3, .kernelHeight = 3});
  EXPECT_EQ(kernel.padding->paddingMethod(), sizeSame);
  EXPECT_EQ(CNNNeuronGradient(kDevice, {}).padding->paddingMethod(), sizeSame);
}

// --- Geometry -------------------------------------------------------------------------------------------------------

TEST(Padding, WorkedValues) {
  // d and offset, the remainder on bottom right and on top left.
  const auto check = [](NNPaddingMethod size, std::size_t n, std::size_t k, std::size_t s, std::size_t d,
                        std::ptrdiff_t bottomRight, std::ptrdiff_t topLeft) {
    EXPECT_EQ(square(size | addRemainderToBottomRight, n, k, s), both(d, bottomRight)) << n << ", " << k << ", " << s;
    EXPECT_EQ(square(size | addRemainderToTopLeft, n, k, s), both(d, topLeft)) << n << ", " << k << ", " << s;
  };
  check(sizeSame, 5, 3, 2, 3, 0, 0);
  check(sizeSame, 6, 3, 2, 3, 1, 0);
  check(sizeSame, 5, 2, 2, 3, 1, 0);
  check(sizeFull, 4, 3, 1, 6, -1, -1);
  check(sizeValidOnly, 9, 2, 4, 2, 2, 2);
  check(sizeSame, 6, 1, 3, 2, 1, 0);
  check(sizeValidOnly, 5, 5, 1, 1, 2, 2);
  check(sizeValidOnly, 5, 3, 1, 3, 1, 1);
  check(sizeSame, 5, 3, 1, 5, 0, 0);
  check(sizeSame, 5, 4, 1, 5, 1, 0);
}

TEST(Padding, RemaindersGoToASideOfEachAxis) {
  // n = 6, k = 3, s = 2: one pixel of padding. On the left or top the window begins a pixel earlier.
  EXPECT_EQ(square(sizeSame | addRemainderToTopLeft, 6, 3, 2), (Sized{3, 3, 0, 0}));
  EXPECT_EQ(square(sizeSame | addRemainderToTopRight, 6, 3, 2), (Sized{3, 3, 1, 0}));
  EXPECT_EQ(square(sizeSame | addRemainderToBottomLeft, 6, 3, 2), (Sized{3, 3, 0, 1}));
  EXPECT_EQ(square(sizeSame | addRemainderToBottomRight, 6, 3, 2), (Sized{3, 3, 1, 1}));
}

TEST(Padding, AlignmentsPutAllPaddingOnOneSide) {
  EXPECT_EQ(square(sizeFull | alignTopLeft, 4, 3, 1), both(6, 1 - 4));
  EXPECT_EQ(square(sizeFull | alignBottomRight, 4, 3, 1), both(6, 1));
  EXPECT_EQ(square(sizeSame | alignTopLeft, 6, 3, 2), both(3, 0));
  EXPECT_EQ(square(sizeSame | alignBottomRight, 6, 3, 2), both(3, 1));
  // The remainder is the centred alignment's alone.
  EXPECT_EQ(square(sizeSame | alignTopLeft | addRemainderToBottomRight, 6, 3, 2), both(3, 0));
}

TEST(Padding, FlagsThatAreNotOfSizeChangeNone) {
  EXPECT_EQ(square(sizeSame | excludeEdges | customAllowForNodeFusion, 6, 3, 2), square(sizeSame, 6, 3, 2));
}

TEST(Padding, DilationCountsAsExtent) {
  EXPECT_EQ(square(sizeValidOnly, 9, 3, 1, 2), square(sizeValidOnly, 9, 5, 1));
  EXPECT_EQ(square(sizeFull, 9, 3, 2, 2), square(sizeFull, 9, 5, 2));
  EXPECT_EQ(square(sizeSame, 9, 2, 1, 3), square(sizeSame, 9, 4, 1));
}

TEST(Padding, AxesAreIndependent) {
  Probe kernel({.kernelWidth = 3, .kernelHeight = 5, .strideInPixelsX = 2, .strideInPixelsY = 1});
  kernel.padding = NNDefaultPadding::paddingWithMethod(sizeValidOnly);
  EXPECT_EQ(sized(kernel, 7, 6), (Sized{3, 2, 1, 2}));
}

TEST(Padding, KernelsThatEnlargeCountBackwards) {
  const auto enlarged = [](NNPaddingMethod method) {
    Probe kernel({.kernelWidth = 3, .kernelHeight = 2, .strideInPixelsX = 2, .strideInPixelsY = 3}, true);
    kernel.padding = NNDefaultPadding::paddingWithMethod(method);
    const auto found = sized(kernel, 3, 4);
    return std::pair(found.width, found.height);
  };
  // (n - 1) * s + 1 + v * (k - 1)
  EXPECT_EQ(enlarged(sizeValidOnly), std::pair(3ul, 9ul));
  EXPECT_EQ(enlarged(sizeSame), std::pair(5ul, 10ul));
  EXPECT_EQ(enlarged(sizeFull), std::pair(7ul, 11ul));
}

TEST(Padding, AWindowLargerThanTheSourceFitsNowhere) {
  Probe kernel({.kernelWidth = 3, .kernelHeight = 6});
  kernel.label = "big";
  kernel.padding = NNDefaultPadding::paddingWithMethod(sizeValidOnly);
  const Image source = imageOf(5, 5);
  expectRefused([&] { kernel.destinationImageDescriptor({source}); },
                {"Probe \"big\"", "window of 6 pixels", "5 pixels of its source"});
  expectEncodeRefused(kDevice, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = source}); },
                      {"encoding Probe \"big\"", "window of 6 pixels"});
}

TEST(Padding, FormatAndChannelsComeFromTheSource) {
  Probe kernel({});
  const Image source(
      kDevice, {.channelFormat = ImageFeatureChannelFormat::float16, .width = 3, .height = 2, .featureChannels = 11});
  EXPECT_EQ(kernel.destinationImageDescriptor({source}), source.descriptor());
  kernel.sourceFeatureChannelOffset = 4;
  EXPECT_EQ(kernel.destinationImageDescriptor({source}).featureChannels, 7u);
  kernel.sourceFeatureChannelMaxCount = 5;
  EXPECT_EQ(kernel.destinationImageDescriptor({source}).featureChannels, 5u);
  kernel.destinationFeatureChannelOffset = 8;
  EXPECT_EQ(kernel.destinationImageDescriptor({source}).featureChannels, 13u);
  expectRefused([&] { kernel.destinationImageDescriptor({}); }, {"Probe", "1 sources", "0 images"});
}

TEST(Padding, AnEncodeThatMakesItsDestinationSetsTheOffset) {
  Probe kernel({.kernelWidth = 3, .kernelHeight = 3, .strideInPixelsX = 2, .strideInPixelsY = 2});
  kernel.offset = {17, -4, 0};
  kernel.destinationImageAllocator = Image::defaultAllocator();
  const Image source = imageOf(6, 5);
  Image made;
  execute(kDevice, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = source}); });
  EXPECT_EQ(kernel.offset, Offset());
  EXPECT_EQ(made.read<float>(), (std::vector<float>{1, 3, 5, 13, 15, 17, 25, 27, 29}));

  // Given its destination it reads the offset and ignores the policy.
  kernel.offset = {1, 2, 0};
  const Image given = imageOf(2, 1);
  Image returned;
  execute(kDevice, [&](CommandBuffer& commands) {
    returned = kernel.encode(commands, {.sourceImage = source, .destinationImage = given});
  });
  EXPECT_EQ(returned, given);
  EXPECT_EQ(kernel.offset, (Offset{1, 2, 0}));
  EXPECT_EQ(given.read<float>(), (std::vector<float>{14, 16}));
}

TEST(Padding, ValidOnlyBeginsInsideAndFullOutside) {
  const Image source = imageOf(4, 1);
  const auto run = [&](NNPaddingMethod method) {
    Probe kernel({.kernelWidth = 3});
    kernel.padding = NNDefaultPadding::paddingWithMethod(method);
    kernel.destinationImageAllocator = Image::defaultAllocator();
    Image made;
    execute(kDevice, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = source}); });
    return made.read<float>();
  };
  EXPECT_EQ(run(sizeValidOnly), (std::vector<float>{2, 3}));
  EXPECT_EQ(run(sizeSame), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(run(sizeFull), (std::vector<float>{0, 1, 2, 3, 4, 0}));
}

// --- Custom policies ------------------------------------------------------------------------------------------------

class Policy : public NNPadding {
 public:
  using Call = std::function<ImageDescriptor(Kernel&, const ImageDescriptor&)>;
  Policy(NNPaddingMethod method, Call call) : method_(method), call_(std::move(call)) {}

  NNPaddingMethod paddingMethod() const override { return method_; }
  std::string label() const override { return "mine"; }
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates,
                                             Kernel& kernel, const ImageDescriptor& suggested) override {
    if (!call_) return NNPadding::destinationImageDescriptor(sourceImages, sourceStates, kernel, suggested);
    return call_(kernel, suggested);
  }

 private:
  NNPaddingMethod method_;
  Call call_;
};

TEST(CustomPadding, IsAskedLast) {
  Probe kernel({.kernelWidth = 3, .kernelHeight = 3, .strideInPixelsX = 2, .strideInPixelsY = 2});
  kernel.destinationFeatureChannelOffset = 4;
  kernel.offset = {9, 9, 0};
  int calls = 0;
  kernel.padding = std::make_shared<Policy>(
      sizeSame | addRemainderToBottomRight | custom, [&](Kernel& asked, const ImageDescriptor& suggested) {
        ++calls;
        EXPECT_EQ(&asked, &kernel);
        EXPECT_EQ(kernel.offset, (Offset{1, 1, 0})) << "The other bits have been at work.";
        EXPECT_EQ(suggested.width, 3u);
        EXPECT_EQ(suggested.featureChannels, 5u);
        ImageDescriptor mine = suggested;
        mine.width = 2;
        mine.channelFormat = ImageFeatureChannelFormat::float16;
        kernel.offset.x = 2;
        return mine;
      });
  const auto descriptor = kernel.destinationImageDescriptor({imageOf(6, 6)});
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(descriptor.width, 2u);
  EXPECT_EQ(descriptor.height, 3u);
  EXPECT_EQ(descriptor.channelFormat, ImageFeatureChannelFormat::float16);
  EXPECT_EQ(kernel.offset, (Offset{2, 1, 0}));
}

TEST(CustomPadding, WhatItChangesStaysButTheOffsetIsSetAnew) {
  Probe kernel({.kernelWidth = 3, .kernelHeight = 3});
  std::vector<Offset> offsets;
  kernel.padding = std::make_shared<Policy>(sizeSame | custom, [&](Kernel&, const ImageDescriptor& suggested) {
    offsets.push_back(kernel.offset);
    kernel.offset.x -= 1;
    kernel.edgeMode = ImageEdgeMode::clamp;
    return suggested;
  });
  kernel.destinationImageAllocator = Image::defaultAllocator();
  const Image source = imageOf(4, 1);
  Image made;
  for (int i = 0; i < 2; ++i)
    execute(kDevice, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = source}); });
  EXPECT_EQ(offsets, (std::vector<Offset>{{0, 0, 0}, {0, 0, 0}}));
  EXPECT_EQ(kernel.offset, (Offset{-1, 0, 0}));
  EXPECT_EQ(kernel.edgeMode, ImageEdgeMode::clamp);
  EXPECT_EQ(made.read<float>(), (std::vector<float>{1, 1, 2, 3}));
}

TEST(CustomPadding, IsNotAskedWithoutItsBit) {
  Probe kernel({.kernelWidth = 3});
  kernel.padding = std::make_shared<Policy>(sizeFull, nullptr);
  EXPECT_EQ(sized(kernel, 4, 1), (Sized{6, 1, -1, 0}));
}

TEST(CustomPadding, MustBeThereWithItsBit) {
  Probe kernel({.kernelWidth = 3});
  kernel.label = "asked";
  kernel.padding = std::make_shared<Policy>(sizeFull | custom, nullptr);
  expectRefused([&] { kernel.destinationImageDescriptor({imageOf(4, 1)}); },
                {"\"mine\"", "Probe \"asked\"", "destinationImageDescriptor"});
}

TEST(CustomPadding, AloneMattersToKernelsThatKeepTheSize) {
  CNNNeuron kernel(kDevice, {});
  const Image source = imageOf(5, 4);
  for (const auto method : {sizeValidOnly, sizeFull, sizeSame | alignBottomRight}) {
    kernel.padding = NNDefaultPadding::paddingWithMethod(method);
    EXPECT_EQ(kernel.destinationImageDescriptor({source}), source.descriptor());
    EXPECT_EQ(kernel.offset, Offset());
  }
  kernel.padding = std::make_shared<Policy>(custom, [&](Kernel&, const ImageDescriptor& suggested) {
    ImageDescriptor mine = suggested;
    mine.width = 2;
    kernel.offset.x = 3;
    return mine;
  });
  kernel.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(kDevice, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = source}); });
  EXPECT_EQ(made.read<float>(), (std::vector<float>{4, 5, 9, 10, 14, 15, 19, 20}));
}

TEST(TensorflowPadding, ClampsAndPutsTheRemainderOnBottomRight) {
  const auto same = NNDefaultPadding::forTensorflowAveragePooling(),
             valid = NNDefaultPadding::forTensorflowAveragePoolingValidOnly();
  EXPECT_EQ(same->paddingMethod(),
            custom | customAllowForNodeFusion | sizeSame | alignCentered | addRemainderToBottomRight);
  EXPECT_EQ(valid->paddingMethod() & sizeMask, sizeValidOnly);
  EXPECT_TRUE(contains(valid->paddingMethod(), custom));
  EXPECT_EQ(same->label(), "same size, as TensorFlow's average pooling");
  for (const auto& [policy, size, offset] : {std::tuple{same, 3ul, 1}, {valid, 2ul, 1}}) {
    Probe kernel({.kernelWidth = 3, .kernelHeight = 3, .strideInPixelsX = 2, .strideInPixelsY = 2});
    kernel.padding = policy;
    EXPECT_EQ(sized(kernel, 6, 6), both(size, offset));
    EXPECT_EQ(kernel.edgeMode, ImageEdgeMode::clamp);
  }
}

// --- Archives -------------------------------------------------------------------------------------------------------

TEST(PaddingArchive, HoldsTheLibrarysPolicies) {
  for (const auto& policy :
       {NNDefaultPadding::paddingWithMethod(sizeFull | alignTopLeft | excludeEdges),
        NNDefaultPadding::forTensorflowAveragePooling(), NNDefaultPadding::forTensorflowAveragePoolingValidOnly()}) {
    CNNNeuron kernel(kDevice, {});
    kernel.padding = policy;
    const auto again = decoded<CNNNeuron>(archiveOf(kernel), kDevice);
    EXPECT_EQ(again, kernel);
    EXPECT_EQ(again.padding->label(), policy->label());
  }
}

TEST(PaddingArchive, CannotHoldCodeAndImpossibleBits) {
  CNNNeuron kernel(kDevice, {});
  kernel.padding = std::make_shared<Policy>(sizeSame | custom, nullptr);
  expectMalformed<CNNNeuron>(archiveOf(kernel), kDevice, "a policy of the caller's");
  expectMalformed<CNNNeuron>(forged(archiveOf(CNNNeuron(kDevice, {})), "padding", 48), kDevice, "a reserved size");
}

}  // namespace
}  // namespace metalloid::test
