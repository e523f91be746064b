#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

const Device kDevice = Device::named("reference");
constexpr ImageDescriptor kImage{
    .channelFormat = ImageFeatureChannelFormat::float32, .width = 4, .height = 2, .featureChannels = 3};

void expectRefused(std::initializer_list<std::string> words, const std::function<void()>& action) {
  expectError(ErrorCode::invalidArgument, words, action);
}

StateResourceList twoOfEach() {
  StateResourceList list;
  list.appendBuffer(12);
  list.appendTexture(kImage);
  list.appendBuffer(40);
  return list;
}

TEST(StateTest, HoldsOneBuffer) {
  const State state(kDevice, 24);
  EXPECT_EQ(state.device(), kDevice);
  EXPECT_FALSE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 0u);
  EXPECT_EQ(state.resourceCount(), 1u);
  EXPECT_EQ(state.resourceTypeAtIndex(0), StateResourceType::buffer);
  EXPECT_EQ(state.bufferSizeAtIndex(0), 24u);
  EXPECT_EQ(state.resourceSize(), 24u);
  EXPECT_EQ(state.bufferAtIndex(0).length(), 24u);
  EXPECT_EQ(state.bufferAtIndex(0).read(), std::vector<std::byte>(24)) << "New storage is zero.";
}

TEST(StateTest, HoldsOneImage) {
  const State state(kDevice, kImage);
  EXPECT_EQ(state.resourceTypeAtIndex(0), StateResourceType::texture);
  EXPECT_EQ(state.textureInfoAtIndex(0), kImage);
  EXPECT_EQ(state.bufferSizeAtIndex(0), 0u);
  EXPECT_EQ(state.resourceSize(), 4u * 2 * 3 * 4);
  const Image image = state.textureAtIndex(0);
  EXPECT_EQ(image.descriptor(), kImage);
  image.write(std::vector<float>(24, 1));
  EXPECT_EQ(state.textureAtIndex(0).read<float>(), std::vector<float>(24, 1));
}

TEST(StateTest, ImagesComeBeforeBuffers) {
  const State state(kDevice, twoOfEach());
  ASSERT_EQ(state.resourceCount(), 3u);
  EXPECT_EQ(state.resourceTypeAtIndex(0), StateResourceType::texture);
  EXPECT_EQ(state.bufferSizeAtIndex(1), 12u);
  EXPECT_EQ(state.bufferSizeAtIndex(2), 40u);
  EXPECT_EQ(state.resourceTypeAtIndex(3), StateResourceType::none);
  EXPECT_EQ(state.bufferSizeAtIndex(3), 0u);
  const auto nothing = state.textureInfoAtIndex(1);
  EXPECT_EQ(nothing.width, 0u);
  EXPECT_EQ(nothing.height, 0u);
  EXPECT_EQ(nothing.featureChannels, 0u);
  expectRefused({"Resource 0", "not a buffer"}, [&] { state.bufferAtIndex(0); });
  expectRefused({"Resource 2", "not an image"}, [&] { state.textureAtIndex(2); });
  expectRefused({"Resource 3"}, [&] { state.bufferAtIndex(3); });
}

TEST(StateTest, WrapsExistingBuffers) {
  const Buffer a = kDevice.makeBuffer(8), b = kDevice.makeBuffer(16);
  const State state(std::array{a, b});
  EXPECT_EQ(state.resourceCount(), 2u);
  EXPECT_EQ(state.bufferAtIndex(1), b);
  EXPECT_EQ(state.bufferSizeAtIndex(0), 8u);
  expectRefused({}, [] { State(std::span<const Buffer>()); });
  expectRefused({"nil"}, [] { State(std::array{Buffer()}); });
  expectRefused({"nil"}, [&] { State(std::array{a, Buffer()}); });
  expectRefused({"one device"}, [&] { State(std::array{a, Device::named("null").makeBuffer(8)}); });
}

TEST(StateTest, LabelsNameItInMessages) {
  const State state(kDevice, 8);
  state.setLabel("statistics");
  EXPECT_EQ(State(state).label(), "statistics");
  expectRefused({"State \"statistics\"", "not temporary"}, [&] { state.setReadCount(1); });
  expectRefused({"State \"statistics\""}, [&] { state.textureAtIndex(0); });
}

TEST(StateTest, NilRefusesEveryCall) {
  const State nil;
  expectRefused({"nil"}, [&] { nil.resourceCount(); });
  expectRefused({"nil"}, [&] { nil.readCount(); });
  expectRefused({"nil"}, [] { State(Device(), 8); });
  CommandBuffer noBuffer;
  expectRefused({"nil"}, [&] { State::temporaryState(noBuffer, 8); });
}

TEST(StateTest, SynchronizesWithAnOpenCommandBufferOfItsDevice) {
  const State state(kDevice, 8);
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  state.synchronize(commands);
  CommandBuffer foreign = Device::named("null").makeCommandQueue().makeCommandBuffer();
  expectRefused({"device reference", "device null"}, [&] { state.synchronize(foreign); });
  commands.commit();
  expectRefused({"committed"}, [&] { state.synchronize(commands); });
}

// --- Temporaries ----------------------------------------------------------------------------------------------------

TEST(TemporaryStateTest, LivesWithinItsCommandBuffer) {
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  const State state = State::temporaryState(commands, twoOfEach());
  EXPECT_TRUE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 1u);
  EXPECT_EQ(state.resourceCount(), 3u);
  EXPECT_EQ(state.resourceSize(), 4u * 2 * 3 * 4 + 12 + 40);
  EXPECT_TRUE(state.textureAtIndex(0).isTemporary());
  expectRefused({}, [&] { state.bufferAtIndex(1); });
  state.setReadCount(3);
  EXPECT_EQ(state.readCount(), 3u);
  state.setReadCount(0);
  expectRefused({"0 already"}, [&] { state.setReadCount(1); });
  EXPECT_EQ(TemporaryImage(state.textureAtIndex(0)).readCount(), 0u) << "Its resources go with it.";
  commands.commit();
  expectRefused({"committed"}, [&] { State::temporaryState(commands, 8); });
}

TEST(TemporaryStateTest, WithoutResourcesIsNone) {
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  const State state = State::temporaryState(commands);
  EXPECT_FALSE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 0u);
  EXPECT_EQ(state.resourceCount(), 0u);
  EXPECT_EQ(state.resourceSize(), 0u);
  EXPECT_EQ(State::temporaryState(commands, kImage).textureInfoAtIndex(0), kImage);
  EXPECT_EQ(State::temporaryState(commands, 20).bufferSizeAtIndex(0), 20u);
}

// --- Batches --------------------------------------------------------------------------------------------------------

TEST(StateBatchTest, CountsDistinctObjects) {
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  const State a = State::temporaryState(commands, 8), b = State::temporaryState(commands, 16);
  const State over = State::temporaryState(commands, 4), ordinary(kDevice, 32);
  over.setReadCount(0);
  EXPECT_EQ(stateBatchIncrementReadCount({a, a, b, over, ordinary, a}, 2), 4u);
  EXPECT_EQ(a.readCount(), 3u);
  EXPECT_EQ(b.readCount(), 3u);
  EXPECT_EQ(over.readCount(), 0u);
  EXPECT_EQ(ordinary.readCount(), 0u);
  EXPECT_EQ(stateBatchIncrementReadCount({b}, -2), 1u);
  EXPECT_EQ(b.readCount(), 1u);
  expectRefused({"cannot become -1"}, [&] { stateBatchIncrementReadCount({b}, -2); });
  EXPECT_EQ(stateBatchResourceSize({a, ordinary, a}), 40u);
  EXPECT_EQ(stateBatchResourceSize({}), 0u);
  stateBatchSynchronize({a, a, ordinary}, commands);
}

// --- Gradient states ------------------------------------------------------------------------------------------------

TEST(GradientStateTest, IsNarrowedByItsKind) {
  const Image image(kDevice, kImage);
  CNNNeuron kernel(kDevice, NNNeuronDescriptor{});
  const State state = kernel.resultState({.sourceImage = image, .destinationImage = image});
  ASSERT_TRUE(state);
  EXPECT_EQ(NNGradientState(state), state);
  EXPECT_FALSE(NNGradientState(State()));
  expectRefused({"NNGradientState", "State"}, [] { NNGradientState(State(kDevice, 8)); });
  expectRefused({"NNBinaryGradientState", "NNGradientState"}, [&] { NNBinaryGradientState narrowed(state); });
  expectRefused({"NNMultiaryGradientState", "NNGradientState"}, [&] { NNMultiaryGradientState narrowed(state); });
  EXPECT_FALSE(state.isTemporary()) << "It records sizes and has no resources.";
  expectRefused({"nil"}, [&] { kernel.resultState({.sourceImage = image, .destinationImage = {}}); });
  expectRefused({"nil"}, [&] { kernel.resultState({.sourceImage = {}, .destinationImage = image}); });
}

TEST(GradientStateTest, ThereIsOneForEachImageOfABatch) {
  const Image image(kDevice, kImage);
  CNNNeuron kernel(kDevice, NNNeuronDescriptor{});
  const StateBatch states = kernel.resultStateBatch({.sourceImage = image, .destinationImage = image, .batchSize = 3});
  ASSERT_EQ(states.size(), 3u);
  EXPECT_NE(states[0], states[1]);
  EXPECT_NE(states[1], states[2]);
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  EXPECT_EQ(
      kernel.temporaryResultStateBatch(commands, {.sourceImage = image, .destinationImage = image, .batchSize = 2})
          .size(),
      2u);
}

}  // namespace
}  // namespace metalloid
