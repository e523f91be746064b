#include "formats/expect_error.hpp"
#include "math/float16.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/image.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using enum ImageFeatureChannelFormat;
using enum DataLayout;
using testing::expectError;

const Device kDevice = Device::named("reference");

Image makeImage(std::size_t width, std::size_t height, std::size_t channels, std::size_t images = 1,
                ImageFeatureChannelFormat format = float32) {
  return Image(kDevice, {.channelFormat = format,
                         .width = width,
                         .height = height,
                         .featureChannels = channels,
                         .numberOfImages = images});
}

/// 0, 1, 2, ...
std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

template <class T>
std::span<std::byte> bytesOf(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}
template <class T>
std::span<const std::byte> constBytesOf(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// Error (invalidArgument) with these words.
void expectRefused(std::initializer_list<std::string> words, const std::function<void()>& action) {
  expectError(ErrorCode::invalidArgument, words, action);
}

// --- Descriptor and properties --------------------------------------------------------------------------------------

TEST(ImageDescriptorTest, HasTheDocumentedDefaults) {
  const ImageDescriptor descriptor;
  EXPECT_EQ(descriptor.channelFormat, none);
  EXPECT_EQ(descriptor.width, 1u);
  EXPECT_EQ(descriptor.height, 1u);
  EXPECT_EQ(descriptor.featureChannels, 1u);
  EXPECT_EQ(descriptor.numberOfImages, 1u);
}

TEST(ImageDescriptorTest, NumbersOfEnumeratorsAreApples) {
  EXPECT_EQ(static_cast<int>(none), 0);
  EXPECT_EQ(static_cast<int>(unorm8), 1);
  EXPECT_EQ(static_cast<int>(unorm16), 2);
  EXPECT_EQ(static_cast<int>(float16), 3);
  EXPECT_EQ(static_cast<int>(float32), 4);
  EXPECT_EQ(static_cast<int>(HeightxWidthxFeatureChannels), 0);
  EXPECT_EQ(static_cast<int>(FeatureChannelsxHeightxWidth), 1);
  EXPECT_EQ(name(unorm16), "unorm16");
  EXPECT_EQ(name(static_cast<ImageFeatureChannelFormat>(5)), "unknown");
}

TEST(ImageTest, DescribesItself) {
  const ImageDescriptor descriptor{
      .channelFormat = float16, .width = 3, .height = 2, .featureChannels = 9, .numberOfImages = 4};
  const Image image(kDevice, descriptor);
  EXPECT_EQ(image.device(), kDevice);
  EXPECT_EQ(image.width(), 3u);
  EXPECT_EQ(image.height(), 2u);
  EXPECT_EQ(image.featureChannels(), 9u);
  EXPECT_EQ(image.numberOfImages(), 4u);
  EXPECT_EQ(image.featureChannelFormat(), float16);
  EXPECT_EQ(image.descriptor(), descriptor);
  EXPECT_EQ(image.resourceSize(), 3u * 2 * 9 * 4 * 2);
  EXPECT_GE(image.pixelSize(), 9u * 2);
  EXPECT_FALSE(image.isTemporary());
  EXPECT_FALSE(image.parent());
  EXPECT_EQ(image.label(), "");
  image.setLabel("features");
  EXPECT_EQ(Image(image).label(), "features") << "A handle shares its image.";
}

TEST(ImageTest, PrecisionIsThatOfTheFormat) {
  for (const auto& [format, bits] : {std::pair{unorm8, 8u}, {unorm16, 16u}, {float16, 11u}, {float32, 24u}})
    EXPECT_EQ(makeImage(1, 1, 1, 1, format).precision(), bits);
}

TEST(ImageTest, BeginsWithZeros) {
  EXPECT_EQ(makeImage(3, 2, 5, 2).read<float>(), std::vector<float>(60));
  EXPECT_EQ(makeImage(3, 2, 5, 1, unorm8).read<float>(), std::vector<float>(30));
}

TEST(ImageTest, RefusesWhatCannotBe) {
  expectRefused({"format none"}, [] { makeImage(1, 1, 1, 1, none); });
  expectRefused({"format unknown"}, [] { makeImage(1, 1, 1, 1, static_cast<ImageFeatureChannelFormat>(5)); });
  expectRefused({"size of 0", "1 of 0 x 2 pixels with 3 channels"}, [] { makeImage(0, 2, 3); });
  expectRefused({"size of 0"}, [] { makeImage(1, 0, 3); });
  expectRefused({"size of 0"}, [] { makeImage(1, 2, 0); });
  expectRefused({"size of 0"}, [] { makeImage(1, 2, 3, 0); });
  constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max() / 2;
  expectRefused({"address space"}, [] { makeImage(kHuge, 4, 1); });
  expectRefused({"address space"}, [] { makeImage(1, 1, kHuge); });
  expectRefused({"pixels"}, [] { makeImage(std::size_t{1} << 30, std::size_t{1} << 30, 4, 4); });
  expectRefused({"nil"}, [] { Image(Device(), {.channelFormat = float32}); });
}

TEST(ImageTest, NilRefusesEveryCall) {
  const Image nil;
  EXPECT_FALSE(nil);
  expectRefused({"nil"}, [&] { nil.width(); });
  expectRefused({"nil"}, [&] { nil.read<float>(); });
  expectRefused({"nil"}, [&] { nil.subImage({0, 4}); });
  expectRefused({"nil"}, [&] { nil.batchRepresentation(); });
  expectRefused({"nil"}, [&] { nil.setLabel("x"); });
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST(ImageTest, LayoutsNameTheOrderOfElements) {
  const Image image = makeImage(2, 2, 3, 2);
  image.write(counted(24));
  // (n, y, x, c) holds ((n * 2 + y) * 2 + x) * 3 + c.
  EXPECT_EQ(image.read<float>(FeatureChannelsxHeightxWidth),
            (std::vector<float>{0,  3,  6,  9,  1,  4,  7,  10, 2,  5,  8,  11,  //
                                12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23}));
  const Image other = makeImage(2, 2, 3, 2);
  other.write(image.read<float>(FeatureChannelsxHeightxWidth), FeatureChannelsxHeightxWidth);
  EXPECT_EQ(other.read<float>(), counted(24));
}

TEST(ImageTest, EveryHostTypeIsConverted) {
  const Image image = makeImage(2, 1, 2);
  image.write(std::vector<double>{0.1, -2, 3.5, 4.5});
  EXPECT_EQ(image.read<float>(), (std::vector<float>{0.1F, -2, 3.5F, 4.5F}));
  EXPECT_EQ(image.read<double>()[0], static_cast<double>(0.1F));
  EXPECT_EQ(image.read<std::int32_t>(), (std::vector<std::int32_t>{0, -2, 4, 4})) << "To nearest, ties to even.";
  EXPECT_EQ(image.read<std::uint32_t>(), (std::vector<std::uint32_t>{0, 0, 4, 4}));
  EXPECT_EQ(image.read<std::uint8_t>(), (std::vector<std::uint8_t>{0, 0, 4, 4}));
  image.write(std::vector<std::int32_t>{-1, 2, 3, 4});
  EXPECT_EQ(image.read<float>(), (std::vector<float>{-1, 2, 3, 4}));
  image.write(std::vector<std::uint8_t>{255, 2, 3, 4});
  EXPECT_EQ(image.read<float>(), (std::vector<float>{255, 2, 3, 4}));
  image.write(std::vector<std::uint32_t>{1000000, 2, 3, 4});
  EXPECT_EQ(image.read<float>(), (std::vector<float>{1000000, 2, 3, 4}));
}

TEST(ImageTest, NormalizedFormatsClampAndRoundToEven) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  const Image image = makeImage(8, 1, 1, 1, unorm8);
  // 2.5 / 255 and 3.5 / 255 are ties: both round to the even neighbour.
  image.write(std::vector<double>{-1, 0.25, 1, 7, 2.5 / 255, 3.5 / 255, static_cast<double>(kNaN),
                                  static_cast<double>(kInfinity)});
  std::vector<std::uint8_t> codes(8);
  image.readBytes(bytesOf(codes), HeightxWidthxFeatureChannels, 0);
  EXPECT_EQ(codes, (std::vector<std::uint8_t>{0, 64, 255, 255, 2, 4, 0, 255}));
  EXPECT_EQ(image.read<double>()[1], 64.0 / 255);
  EXPECT_EQ(image.read<float>()[2], 1);

  const Image wide = makeImage(4, 1, 1, 1, unorm16);
  wide.write(std::vector<double>{-0.5, 0.5, 1.5, 1.0 / 65535});
  std::vector<std::uint16_t> words(4);
  wide.readBytes(bytesOf(words), HeightxWidthxFeatureChannels, 0);
  EXPECT_EQ(words, (std::vector<std::uint16_t>{0, 32768, 65535, 1})) << "0.5 is 32767.5 / 65535, a tie.";
}

TEST(ImageTest, Float16RoundsToEvenAndOverflows) {
  const Image image = makeImage(6, 1, 1, 1, float16);
  image.write(std::vector<double>{2049, 2051, 65504, 65519, 65520, 0x1p-25});
  EXPECT_EQ(image.read<float>(),
            (std::vector<float>{2048, 2052, 65504, 65504, std::numeric_limits<float>::infinity(), 0}));
}

TEST(ImageTest, RefusesAWrongNumberOfValues) {
  const Image image = makeImage(2, 2, 3, 2);
  image.setLabel("features");
  expectRefused({"\"features\"", "24 elements", "23 values"}, [&] { image.write(std::vector<float>(23)); });
  expectRefused({"25 values"}, [&] { image.write(std::vector<double>(25)); });
}

// --- Bytes ----------------------------------------------------------------------------------------------------------

TEST(ImageBytes, AreTheFormatsOwnAndDense) {
  const Image image = makeImage(2, 1, 2, 2, float16);
  image.write(counted(8));
  std::vector<math::Float16> halves(4);
  image.readBytes(bytesOf(halves), HeightxWidthxFeatureChannels, 1);
  EXPECT_EQ(static_cast<float>(halves[3]), 7);
  image.readBytes(bytesOf(halves), FeatureChannelsxHeightxWidth, 1);
  EXPECT_EQ(static_cast<float>(halves[1]), 6);
  image.writeBytes(constBytesOf(halves), HeightxWidthxFeatureChannels, 0);
  EXPECT_EQ(image.read<float>(), (std::vector<float>{4, 6, 5, 7, 4, 5, 6, 7}));
}

TEST(ImageBytes, RegionsChannelsAndStridesInRows) {
  const Image image = makeImage(4, 3, 6, 3);
  image.write(counted(4 * 3 * 6 * 3));
  const auto value = [](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    return static_cast<float>(((n * 3 + y) * 4 + x) * 6 + c);
  };
  // Columns 1 and 2 of rows 1 and 2, channels 4 and 5, of images 1 and 2; a column is 3 floats, a row 8, an image 20.
  std::vector<float> host(40, -1);
  const Image::BytesArguments arguments{
      .bytesPerColumn = 12,
      .bytesPerRow = 32,
      .bytesPerImage = 80,
      .region = {{1, 1, 0}, {2, 2, 2}},
      .featureChannelInfo = {.featureChannelOffset = 4, .numberOfFeatureChannelsToReadWrite = 2},
      .imageIndex = 1};
  image.readBytes(bytesOf(host), arguments);
  std::vector<float> expected(40, -1);
  for (std::size_t n = 0; n < 2; ++n) {
    for (std::size_t y = 0; y < 2; ++y) {
      for (std::size_t x = 0; x < 2; ++x) {
        for (std::size_t c = 0; c < 2; ++c) expected[n * 20 + y * 8 + x * 3 + c] = value(n + 1, y + 1, x + 1, c + 4);
      }
    }
  }
  EXPECT_EQ(host, expected) << "What lies between the strides stays.";

  const Image copy = makeImage(4, 3, 6, 3);
  copy.write(std::vector<float>(4 * 3 * 6 * 3, -7));
  copy.writeBytes(constBytesOf(host), arguments);
  auto after = copy.read<float>();
  for (std::size_t n = 1; n < 3; ++n) {
    for (std::size_t y = 1; y < 3; ++y) {
      for (std::size_t x = 1; x < 3; ++x) {
        for (std::size_t c = 4; c < 6; ++c) {
          auto& element = after[((n * 3 + y) * 4 + x) * 6 + c];
          EXPECT_EQ(element, value(n, y, x, c));
          element = -7;
        }
      }
    }
  }
  EXPECT_EQ(after, std::vector<float>(after.size(), -7)) << "Nothing else is written.";
}

TEST(ImageBytes, RegionsChannelsAndStridesInPlanes) {
  const Image image = makeImage(3, 2, 5, 2);
  image.write(counted(60));
  // Rows of 4 floats: planes of 8, images of 18.
  std::vector<float> host(36, -1);
  const Image::BytesArguments arguments{.dataLayout = FeatureChannelsxHeightxWidth,
                                        .bytesPerRow = 16,
                                        .bytesPerImage = 72,
                                        .region = {{1, 0, 0}, {2, 2, 2}},
                                        .featureChannelInfo = {.numberOfFeatureChannelsToReadWrite = 2}};
  image.readBytes(bytesOf(host), arguments);
  std::vector<float> expected(36, -1);
  for (std::size_t n = 0; n < 2; ++n) {
    for (std::size_t c = 0; c < 2; ++c) {
      for (std::size_t y = 0; y < 2; ++y) {
        for (std::size_t x = 0; x < 2; ++x)
          expected[n * 18 + c * 8 + y * 4 + x] = static_cast<float>(((n * 2 + y) * 3 + x + 1) * 5 + c);
      }
    }
  }
  EXPECT_EQ(host, expected);
  const Image copy = makeImage(3, 2, 5, 2);
  copy.writeBytes(constBytesOf(host), arguments);
  std::vector<float> again(36, -1);
  copy.readBytes(bytesOf(again), arguments);
  EXPECT_EQ(again, host);
}

TEST(ImageBytes, ReadTheRestWhereNoSizeIsGiven) {
  const Image image = makeImage(3, 2, 5);
  image.write(counted(30));
  std::vector<float> host(2);
  Image::BytesArguments arguments{.featureChannelInfo = {.featureChannelOffset = 4}};
  arguments.region.origin = {1, 1, 0};
  image.readBytes(bytesOf(host), arguments);
  EXPECT_EQ(host, (std::vector<float>{24, 29})) << "Columns 1 and 2 of row 1, channel 4.";
}

TEST(ImageBytes, RefuseWhatDoesNotFit) {
  const Image image = makeImage(4, 3, 9, 2);
  image.setLabel("x");
  std::vector<float> host(216);
  const auto refused = [&](std::initializer_list<std::string> words, const Image::BytesArguments& arguments) {
    expectRefused(words, [&] { image.readBytes(bytesOf(host), arguments); });
    expectRefused(words, [&] { image.writeBytes(constBytesOf(host), arguments); });
  };
  refused({"Image \"x\"", "images 2 to 3"}, {.imageIndex = 2});
  refused({"images 1 to 3"}, {.region = {{0, 0, 0}, {4, 3, 2}}, .imageIndex = 1});
  refused({"images 2 to 3"}, {.region = {{0, 0, 1}, {4, 3, 1}}, .imageIndex = 1});
  refused({"4 x 3 pixels from (1, 0)"}, {.region = {{1, 0, 0}, {4, 3, 1}}});
  refused({"(5, 0)"}, {.region = {{5, 0, 0}, {all, all, 1}}});
  refused({"4 x 2 pixels from (0, 2)"}, {.region = {{0, 2, 0}, {4, 2, 1}}});
  refused({"featureChannelOffset is 2"}, {.featureChannelInfo = {.featureChannelOffset = 2}});
  refused({"9 channels; 10 from 0"}, {.featureChannelInfo = {.numberOfFeatureChannelsToReadWrite = 10}});
  refused({"9 channels; 0 from 0"}, {.featureChannelInfo = {.numberOfFeatureChannelsToReadWrite = 0}});
  refused({"9 channels", "from 12"}, {.featureChannelInfo = {.featureChannelOffset = 12}});
  refused({"3 channels from 4", "multiple of 4"},
          {.featureChannelInfo = {.featureChannelOffset = 4, .numberOfFeatureChannelsToReadWrite = 3}});
  refused({"strides", "35 bytes a column"}, {.bytesPerColumn = 35});
  refused({"143 a row"}, {.bytesPerRow = 143});
  refused({"431 an image"}, {.bytesPerImage = 431});
  refused({"too short"}, {.dataLayout = FeatureChannelsxHeightxWidth, .bytesPerRow = 15});
  refused({"864 bytes are given", "1296"}, {.bytesPerRow = 576});
  // The last row ends with its last element, not with its stride.
  image.readBytes(bytesOf(host).first(432), HeightxWidthxFeatureChannels, 1);
  expectRefused({"431 bytes are given"},
                [&] { image.readBytes(bytesOf(host).first(431), HeightxWidthxFeatureChannels, 1); });
  image.readBytes(bytesOf(host).first(2 * 160 + 144), {.bytesPerRow = 160});
}

// --- Views ----------------------------------------------------------------------------------------------------------

TEST(ImageViews, OfChannelsShareStorage) {
  const Image image = makeImage(2, 1, 9, 2);
  image.write(counted(36));
  const Image view = image.subImage({4, 4}), end = image.subImage({8, 100});
  EXPECT_EQ(view.parent(), image);
  EXPECT_EQ(view.descriptor(), (ImageDescriptor{float32, 2, 1, 4, 2}));
  EXPECT_EQ(view.resourceSize(), 0u);
  EXPECT_EQ(end.featureChannels(), 1u) << "A length beyond the last channel is cut.";
  EXPECT_EQ(view.read<float>(), (std::vector<float>{4, 5, 6, 7, 13, 14, 15, 16, 22, 23, 24, 25, 31, 32, 33, 34}));
  EXPECT_EQ(end.read<float>(), (std::vector<float>{8, 17, 26, 35}));
  end.write(std::vector<float>{-1, -2, -3, -4});
  EXPECT_EQ(image.read<float>()[17], -2);
  image.write(std::vector<float>(36, 5));
  EXPECT_EQ(view.read<float>(), std::vector<float>(16, 5));
  const Image part = view.batchRepresentation({1, 1}).front();
  EXPECT_EQ(part.parent(), view);
  part.write(std::vector<float>(8, 6));
  EXPECT_EQ(image.read<float>()[17], 5);
  EXPECT_EQ(image.read<float>()[18 + 4], 6);
}

TEST(ImageViews, OfAContainerAreItsImages) {
  const Image image = makeImage(2, 2, 1, 3);
  image.write(counted(12));
  const auto batch = image.batchRepresentation();
  ASSERT_EQ(batch.size(), 3u);
  for (std::size_t n = 0; n < 3; ++n) {
    EXPECT_EQ(batch[n].numberOfImages(), 1u);
    EXPECT_EQ(batch[n].parent(), image);
    EXPECT_EQ(batch[n].read<float>()[0], static_cast<float>(4 * n));
  }
  const auto part = image.batchRepresentation({1, 2});
  ASSERT_EQ(part.size(), 2u);
  EXPECT_EQ(part[0].read<float>(), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_NE(part[0], batch[1]) << "Each call makes its own views.";
  EXPECT_TRUE(image.batchRepresentation({3, 0}).empty());
  batch[2].write(std::vector<float>(4, -1));
  EXPECT_EQ(image.read<float>()[8], -1);
}

TEST(ImageViews, KeepTheirStorageAlive) {
  Image image = makeImage(1, 1, 4, 2);
  image.write(counted(8));
  const Image view = image.batchRepresentation({1, 1}).front();
  image = {};
  EXPECT_EQ(view.read<float>(), (std::vector<float>{4, 5, 6, 7}));
}

TEST(ImageViews, RefuseWhatIsNotThere) {
  const Image image = makeImage(2, 2, 9, 3);
  image.setLabel("x");
  expectRefused({"Image \"x\"", "3 images", "2 from 2"}, [&] { image.batchRepresentation({2, 2}); });
  expectRefused({"3 images"}, [&] { image.batchRepresentation({4, 0}); });
  expectRefused({"9 channels", "not at 2"}, [&] { image.subImage({2, 4}); });
  expectRefused({"9 channels", "not at 12"}, [&] { image.subImage({12, 4}); });
  expectRefused({"3 channels", "no multiple of 4"}, [&] { image.subImage({0, 3}); });
  expectRefused({"9 channels"}, [&] { image.subImage({4, 0}); });
}

// --- Batches --------------------------------------------------------------------------------------------------------

TEST(ImageBatchTest, CountsDistinctObjects) {
  const Image a = makeImage(2, 2, 1), b = makeImage(1, 1, 4);
  const ImageBatch batch{a, b, a, a};
  EXPECT_EQ(imageBatchResourceSize(batch), 32u);
  EXPECT_EQ(imageBatchIncrementReadCount(batch, 3), 2u) << "What is not temporary is counted, and left alone.";
  EXPECT_EQ(imageBatchIncrementReadCount({}, 1), 0u);
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  imageBatchSynchronize(batch, commands);
  const auto views = a.batchRepresentation();
  EXPECT_EQ(imageBatchResourceSize({views[0], a}), 16u) << "Views add nothing.";
  expectRefused({"nil"}, [&] { imageBatchResourceSize({a, Image()}); });
}

TEST(ImageBatchTest, IteratesUntilToldToStop) {
  const Image a = makeImage(1, 1, 1), b = makeImage(1, 1, 1), c = makeImage(1, 1, 1);
  constexpr std::ptrdiff_t kGoOn = std::numeric_limits<std::ptrdiff_t>::min();
  std::vector<std::size_t> seen;
  EXPECT_EQ(imageBatchIterate({a, a, b, c, b},
                              [&](const Image&, std::size_t index) {
                                seen.push_back(index);
                                return kGoOn;
                              }),
            kGoOn);
  EXPECT_EQ(seen, (std::vector<std::size_t>{0, 2, 3}));
  seen.clear();
  EXPECT_EQ(imageBatchIterate({a, b, c},
                              [&](const Image& image, std::size_t index) {
                                seen.push_back(index);
                                return image == b ? std::ptrdiff_t{-5} : kGoOn;
                              }),
            -5);
  EXPECT_EQ(seen, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(imageBatchIterate({}, [](const Image&, std::size_t) { return std::ptrdiff_t{0}; }), kGoOn);
}

TEST(ImageBatchTest, TheDefaultAllocatorMakesOrdinaryImages) {
  const CNNNeuron kernel(kDevice, NNNeuronDescriptor{});
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  const ImageDescriptor descriptor{.channelFormat = float16, .width = 3, .height = 2, .featureChannels = 5};
  const auto& allocator = Image::defaultAllocator();
  const Image one = allocator->image(commands, descriptor, kernel);
  EXPECT_EQ(one.descriptor(), descriptor);
  EXPECT_FALSE(one.isTemporary());
  const auto batch = allocator->imageBatch(commands, descriptor, kernel, 3);
  ASSERT_EQ(batch.size(), 3u);
  for (const Image& image : batch) {
    EXPECT_EQ(image.descriptor(), descriptor);
    EXPECT_FALSE(image.isTemporary());
  }
  batch[1].write(std::vector<float>(30, 1));
  EXPECT_EQ(batch[0].read<float>(), std::vector<float>(30));
  EXPECT_EQ(batch[2].read<float>(), std::vector<float>(30));
}

// --- Order ----------------------------------------------------------------------------------------------------------

class ImageOrder : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, ImageOrder, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& instance) { return testing::identifier(instance.param); });

TEST_P(ImageOrder, TheHostComesAfterCommittedWork) {
  const Device& device = GetParam();
  const ImageDescriptor descriptor{.channelFormat = float32, .width = 64, .height = 64, .featureChannels = 8};
  const Image a(device, descriptor), b(device, descriptor);
  const std::size_t count = 64 * 64 * 8;
  a.write(std::vector<float>(count, 1));
  const CommandQueue queue = device.makeCommandQueue();
  CNNNeuron next(device, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::linear, 2.0F, 1.0F));
  for (int i = 0; i < 4; ++i) {
    CommandBuffer commands = queue.makeCommandBuffer();
    next.encode(commands, {.sourceImage = a, .destinationImage = b});
    next.encode(commands, {.sourceImage = b, .destinationImage = a});
    commands.commit();  // and no wait
  }
  const auto view = a.subImage({4, 4});
  EXPECT_EQ(view.read<float>(), std::vector<float>(count / 2, 511)) << "x -> 2x + 1, eight times";
  CommandBuffer commands = queue.makeCommandBuffer();
  next.encode(commands, {.sourceImage = a, .destinationImage = b});
  commands.commit();
  a.write(std::vector<float>(count, 0));  // after the read of what was committed
  EXPECT_EQ(b.read<float>(), std::vector<float>(count, 1023));
}

}  // namespace
}  // namespace metalloid
