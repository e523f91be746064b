#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/image.hpp>

#include <array>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

constexpr ImageDescriptor kShape{
    .channelFormat = ImageFeatureChannelFormat::float32, .width = 8, .height = 8, .featureChannels = 8};
constexpr std::size_t kBytes = 8 * 8 * 8 * 4;

void expectRefused(std::initializer_list<std::string> words, const std::function<void()>& action) {
  expectError(ErrorCode::invalidArgument, words, action);
}

class TemporaryImageTest : public ::testing::TestWithParam<Device> {
 protected:
  /// destination = 2 * source + 1
  void encode(CommandBuffer& commands, const Image& source, const Image& destination) const {
    kernel().encode(commands, {.sourceImage = source, .destinationImage = destination});
  }
  void encode(CommandBuffer& commands, const ImageBatch& sources, const ImageBatch& destinations) const {
    kernel().encodeBatch(commands, {.sourceImages = sources, .destinationImages = destinations});
  }
  CNNNeuron kernel() const {
    return {GetParam(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::linear, 2.0F, 1.0F)};
  }
  Image image(float value = 0, const ImageDescriptor& descriptor = kShape) const {
    const Image made(GetParam(), descriptor);
    made.write(std::vector<float>(
        descriptor.numberOfImages * descriptor.height * descriptor.width * descriptor.featureChannels, value));
    return made;
  }
  static std::size_t reads(const Image& temporary) { return TemporaryImage(temporary).readCount(); }

  CommandQueue queue_ = GetParam().makeCommandQueue();
};
INSTANTIATE_TEST_SUITE_P(Devices, TemporaryImageTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& instance) { return testing::identifier(instance.param); });

TEST_P(TemporaryImageTest, IsReadOnceUnlessSaidOtherwise) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  EXPECT_TRUE(temporary.isTemporary());
  EXPECT_EQ(temporary.readCount(), 1u);
  EXPECT_EQ(temporary.descriptor(), kShape);
  EXPECT_EQ(temporary.device(), GetParam());
  EXPECT_EQ(temporary.resourceSize(), kBytes);
  EXPECT_EQ(commands.temporaryBytes(), 0u) << "Storage comes with the first use.";
  temporary.setReadCount(7);
  EXPECT_EQ(temporary.readCount(), 7u);
}

TEST_P(TemporaryImageTest, CarriesValuesThroughAChain) {
  const Image input = image(1), result = image();
  CommandBuffer commands = queue_.makeCommandBuffer();
  Image previous = input;
  for (int i = 0; i < 6; ++i) {
    const TemporaryImage next(commands, kShape);
    encode(commands, previous, next);
    previous = next;
  }
  encode(commands, previous, result);
  EXPECT_EQ(commands.temporaryBytes(), 2 * kBytes) << "Two at a time are alive.";
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(512, 255));  // x -> 2x + 1, seven times
}

TEST_P(TemporaryImageTest, CountsEncodesThatReadIt) {
  const Image result = image();
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  temporary.setReadCount(2);
  encode(commands, result, temporary);
  encode(commands, result, temporary);
  EXPECT_EQ(temporary.readCount(), 2u) << "Writing is not reading.";
  encode(commands, temporary, result);
  EXPECT_EQ(temporary.readCount(), 1u);
  encode(commands, temporary, result);
  EXPECT_EQ(temporary.readCount(), 0u);
  commands.commit();
  commands.waitUntilCompleted();
}

TEST_P(TemporaryImageTest, InTwoRolesOfOneEncodeIsReadOnce) {
  const Image result = image(), zeros = image(0);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  encode(commands, zeros, temporary);
  CNNNeuronGradient gradient(GetParam(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::linear, 3.0F, 0.0F));
  gradient.encode(commands, {.sourceGradient = temporary, .sourceImage = temporary, .destinationGradient = result});
  EXPECT_EQ(temporary.readCount(), 0u);
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(512, 3));
}

TEST_P(TemporaryImageTest, IsGoneWhenItsReadsAre) {
  const Image result = image();
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  temporary.setLabel("hidden");
  encode(commands, result, temporary);
  encode(commands, temporary, result);
  expectRefused({"TemporaryImage \"hidden\"", "sourceImage", "readCount"},
                [&] { encode(commands, temporary, result); });
  expectRefused({"\"hidden\"", "destinationImage"}, [&] { encode(commands, result, temporary); });
  expectRefused({"\"hidden\"", "0 already"}, [&] { temporary.setReadCount(1); });
  expectRefused({"\"hidden\"", "0 already"}, [&] { temporary.subImage({0, 4}); });
  EXPECT_EQ(commands.explain().size(), 2u) << "What was refused is not recorded.";
}

TEST_P(TemporaryImageTest, IsGivenBackByAReadCountOfZero) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const Image zeros = image();
  for (int i = 0; i < 10; ++i) {
    const TemporaryImage temporary(commands, kShape);
    encode(commands, zeros, temporary);
    temporary.setReadCount(0);
    EXPECT_EQ(commands.temporaryBytes(), kBytes);
  }
}

TEST_P(TemporaryImageTest, BelongsToItsCommandBuffer) {
  const Image result = image();
  CommandBuffer commands = queue_.makeCommandBuffer(), other = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  expectRefused({"another command buffer"}, [&] { encode(other, temporary, result); });
  expectRefused({"another command buffer"}, [&] { encode(other, result, temporary); });
  commands.commit();
  expectRefused({"committed or gone"}, [&] { encode(other, temporary, result); });
  std::optional<TemporaryImage> orphan;
  {
    CommandBuffer gone = queue_.makeCommandBuffer();
    orphan.emplace(gone, kShape);
  }
  EXPECT_EQ(orphan->width(), 8u) << "As a shell it lives on.";
  expectRefused({"committed or gone"}, [&] { encode(other, *orphan, result); });
  EXPECT_TRUE(other.explain().empty());
}

TEST_P(TemporaryImageTest, IsNotForTheHost) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage temporary(commands, kShape);
  temporary.setLabel("hidden");
  expectRefused({"\"hidden\"", "read by the host"}, [&] { temporary.read<float>(); });
  expectRefused({"\"hidden\"", "written by the host"}, [&] { temporary.write(std::vector<float>(512)); });
  const TemporaryImage view(temporary.subImage({0, 4}));
  expectRefused({"read by the host"}, [&] { view.read<float>(); });
}

TEST_P(TemporaryImageTest, NarrowsWhatIsOne) {
  CommandBuffer commands = queue_.makeCommandBuffer(), nil;
  const Image handle = TemporaryImage(commands, kShape);
  EXPECT_EQ(TemporaryImage(handle), handle);
  EXPECT_FALSE(TemporaryImage(Image()));
  expectRefused({"not temporary"}, [&] { TemporaryImage narrowed(image()); });
  expectRefused({"nil"}, [&] { TemporaryImage(nil, kShape); });
  expectRefused({"format none"}, [&] { TemporaryImage(commands, {.width = 3}); });
  commands.commit();
  expectRefused({"committed"}, [&] { TemporaryImage(commands, kShape); });
  expectRefused({"nil"}, [&] { TemporaryImage().readCount(); });
}

// --- Views ----------------------------------------------------------------------------------------------------------

TEST_P(TemporaryImageTest, AViewHoldsOneReadOfItsParent) {
  const Image zeros = image();
  ImageDescriptor half = kShape;
  half.featureChannels = 4;
  const Image result = image(0, half);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage parent(commands, kShape);
  encode(commands, zeros, parent);
  const TemporaryImage view(parent.subImage({4, 4}));
  EXPECT_EQ(view.parent(), parent);
  EXPECT_EQ(view.readCount(), 1u);
  EXPECT_EQ(parent.readCount(), 2u);
  view.setReadCount(2);
  EXPECT_EQ(parent.readCount(), 2u);
  encode(commands, view, result);
  EXPECT_EQ(parent.readCount(), 2u);
  encode(commands, view, result);
  EXPECT_EQ(view.readCount(), 0u);
  EXPECT_EQ(parent.readCount(), 1u) << "The read is given back.";
  const auto whole = image();
  encode(commands, parent, whole);
  EXPECT_EQ(parent.readCount(), 0u);
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(256, 3));
  EXPECT_EQ(whole.read<float>(), std::vector<float>(512, 3));
}

TEST_P(TemporaryImageTest, AViewIsGoneWithItsParent) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  ImageDescriptor half = kShape;
  half.featureChannels = 4;
  const Image zeros = image(), result = image(0, half);
  const TemporaryImage parent(commands, kShape);
  encode(commands, zeros, parent);
  const TemporaryImage view(parent.subImage({0, 4}));
  parent.setReadCount(0);
  EXPECT_EQ(view.readCount(), 0u);
  expectRefused({"readCount"}, [&] { encode(commands, view, result); });
  expectRefused({"0 already"}, [&] { view.setReadCount(1); });
  EXPECT_EQ(commands.explain().size(), 1u);
}

TEST_P(TemporaryImageTest, ImagesOfAContainerShareIt) {
  ImageDescriptor three = kShape;
  three.numberOfImages = 3;
  const Image zeros = image(0, three), results = image(0, three);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage container(commands, three);
  const ImageBatch batch = container.batchRepresentation();
  EXPECT_EQ(container.readCount(), 4u);
  encode(commands, zeros.batchRepresentation(), batch);
  encode(commands, batch, results.batchRepresentation());
  for (const Image& one : batch) EXPECT_EQ(reads(one), 0u);
  EXPECT_EQ(container.readCount(), 1u);
  commands.commit();
  EXPECT_EQ(results.read<float>(), std::vector<float>(3 * 512, 3));
}

// --- Batches --------------------------------------------------------------------------------------------------------

TEST_P(TemporaryImageTest, TheAllocatorsBatchIsReadImageByImage) {
  const Image input = image(1), result = image();
  CommandBuffer commands = queue_.makeCommandBuffer();
  const auto batch = TemporaryImage::defaultAllocator()->imageBatch(commands, kShape, kernel(), 3);
  ASSERT_EQ(batch.size(), 3u);
  for (const Image& one : batch) {
    EXPECT_TRUE(one.isTemporary());
    EXPECT_EQ(one.descriptor(), kShape);
    EXPECT_EQ(reads(one), 1u);
  }
  encode(commands, {input, input, input}, batch);
  encode(commands, batch[1], result);
  EXPECT_EQ(reads(batch[1]), 0u);
  EXPECT_EQ(reads(batch[0]), 1u) << "Each by itself.";
  const TemporaryImage another(commands, kShape);
  encode(commands, input, another);
  EXPECT_EQ(commands.temporaryBytes(), 4 * kBytes) << "The storage of three stays until all are read.";
  encode(commands, batch[0], result);
  TemporaryImage(batch[2]).setReadCount(0);
  ImageDescriptor three = kShape;
  three.numberOfImages = 3;
  const TemporaryImage reuses(commands, three);
  encode(commands, image(0, three), reuses);
  EXPECT_EQ(commands.temporaryBytes(), 4 * kBytes);
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(512, 7));
}

TEST_P(TemporaryImageTest, BatchesChangeEachObjectsCountOnce) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryImage a(commands, kShape), b(commands, kShape), over(commands, kShape);
  over.setReadCount(0);
  const Image ordinary = image();
  EXPECT_EQ(imageBatchIncrementReadCount({a, b, a, over, ordinary}, 2), 4u);
  EXPECT_EQ(a.readCount(), 3u);
  EXPECT_EQ(b.readCount(), 3u);
  EXPECT_EQ(over.readCount(), 0u) << "What is over stays over.";
  EXPECT_EQ(imageBatchIncrementReadCount({a}, -2), 1u);
  EXPECT_EQ(a.readCount(), 1u);
  expectRefused({"cannot become -1"}, [&] { imageBatchIncrementReadCount({a}, -2); });
  // One object as several of a batch's sources is read once.
  const Image r1 = image(), r2 = image();
  encode(commands, ordinary, b);
  encode(commands, {b, b}, {r1, r2});
  EXPECT_EQ(b.readCount(), 2u);
  commands.commit();
  EXPECT_EQ(r2.read<float>(), std::vector<float>(512, 3));
}

TEST_P(TemporaryImageTest, PrefetchedStorageIsUsed) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  TemporaryImage::prefetchStorage(commands, std::array{kShape, kShape});
  const std::size_t bytes = commands.temporaryBytes();
  // The device may have larger blocks of its own to give.
  EXPECT_GE(bytes, 2 * kBytes) << "Both are alive at the same time.";
  const Image zeros = image();
  const TemporaryImage a(commands, kShape), b(commands, kShape);
  encode(commands, zeros, a);
  encode(commands, zeros, b);
  EXPECT_EQ(commands.temporaryBytes(), bytes);
  expectRefused({"format none"}, [&] { TemporaryImage::prefetchStorage(commands, std::array{ImageDescriptor{}}); });
}

TEST_P(TemporaryImageTest, WhatAKernelReturnsIsTemporary) {
  const Image input = image(1), result = image();
  CommandBuffer commands = queue_.makeCommandBuffer();
  const Image made = kernel().encode(commands, {.sourceImage = input});
  EXPECT_TRUE(made.isTemporary());
  const ImageBatch batch = kernel().encodeBatch(commands, {.sourceImages = {input, made}});
  EXPECT_EQ(reads(made), 0u);
  encode(commands, batch[1], result);
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(512, 15));
}

}  // namespace
}  // namespace metalloid
