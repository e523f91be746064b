#include "kernels/kernel_checks.hpp"
#include "support/normalization_sources.hpp"

#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid::test {
namespace {

using metalloid::testing::groupNormalization;
using metalloid::testing::GroupNormalizationSource;
using metalloid::testing::instanceNormalization;
using metalloid::testing::InstanceNormalizationSource;
using metalloid::testing::NormalizationValues;
using Floats = std::vector<float>;
using InstanceState = CNNInstanceNormalizationGradientState;
using GroupState = CNNGroupNormalizationGradientState;

class GroupNormalization : public OnDevice {
 protected:
  /// One row of pixels of C channels.
  Image image(const Floats& values, std::size_t channels = 1) const {
    const Image result(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                                .width = values.size() / channels,
                                .featureChannels = channels});
    result.write(values);
    return result;
  }
  Image blank(std::size_t width, std::size_t channels = 1) const { return image(Floats(width * channels), channels); }
  void run(const std::function<void(CommandBuffer&)>& encode) const { execute(device, encode); }
};
class GroupNormalizationChecks : public GroupNormalization {};
INSTANTIATE_TEST_SUITE_P(Devices, GroupNormalization, ::testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, GroupNormalizationChecks, ::testing::Values("reference", "cpu", "null"), deviceName);

/// `roundings` to float32 of numbers up to 4, and one of the printed digits of the expected numbers.
void expectClose(const Floats& actual, const std::vector<double>& expected, double roundings) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], roundings * 0x1p-22 + 0.5e-6) << "element " << i;
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST_P(GroupNormalization, OfInstancesComputesTheWorkedExampleForEachImage) {
  // Of the second image everything is doubled, and negative: xh has the other sign, and r is half as large.
  auto kernel = instanceNormalization(device, {.gamma = {1}, .beta = {0}});
  CNNInstanceNormalizationGradient gradient(device);
  kernel.destinationImageAllocator = gradient.destinationImageAllocator = Image::defaultAllocator();
  const ImageBatch x{image({1, 2, 3, 4}), image({-2, -4, -6, -8})};
  const ImageBatch g{image({1, 0, 0, 0}), image({3, 0, 0, 0})};
  ImageBatch y, dx;
  StateBatch states;
  run([&](CommandBuffer& commands) {
    y = kernel.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states});
    dx = gradient.encodeBatch(commands, {.sourceGradients = g, .sourceImages = x, .gradientStates = states});
  });
  expectClose(y[0].read<float>(), {-1.341641, -0.447214, 0.447214, 1.341641}, 4);
  expectClose(y[1].read<float>(), {1.341641, 0.447214, -0.447214, -1.341641}, 4);
  ASSERT_EQ(states.size(), 2u);
  EXPECT_NE(states[0], states[1]);
  const InstanceState first(states[0]), second(states[1]);
  EXPECT_EQ(first.gradientForBeta().read<float>(), Floats{1});
  EXPECT_EQ(second.gradientForBeta().read<float>(), Floats{3});
  expectClose(first.gradientForGamma().read<float>(), {-1.341641}, 4);
  expectClose(second.gradientForGamma().read<float>(), {3 * 1.341641}, 8);
  expectClose(dx[0].read<float>(), {0.268328, -0.357771, -0.089443, 0.178885}, 8);
  expectClose(dx[1].read<float>(), {1.5 * 0.268328, 1.5 * -0.357771, 1.5 * -0.089443, 1.5 * 0.178885}, 12);
  EXPECT_EQ(first.instanceNormalization(), kernel);
  EXPECT_EQ(first.gamma(), kernel.parameters()->gamma);
  EXPECT_EQ(second.beta(), kernel.parameters()->beta);
}

TEST_P(GroupNormalization, TakesStatisticsOverBlocksOfChannels) {
  // Two pixels of four channels in two groups: {0, 4, 2, 6} has mean 3 and variance 5, {10, 10, 20, 20} 15 and 25.
  const Floats values{0, 4, 10, 10, 2, 6, 20, 20};
  const Image x = image(values, 4), y = blank(2, 4);
  auto kernel = groupNormalization(
      device, {.channels = 4, .gamma = {1, 2, 3, 4}, .beta = {0, 0, 1, 2}, .epsilon = 4, .groups = 2});
  EXPECT_EQ(kernel.numberOfGroups(), 2u);
  EXPECT_EQ(kernel.numberOfFeatureChannels(), 4u);
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  const double r = 1 / std::sqrt(29.0);  // of the second group; 1/3 of the first
  expectClose(y.read<float>(), {-1, 2.0 / 3, 1 - 3 * 5 * r, 2 - 4 * 5 * r, -1.0 / 3, 2, 1 + 3 * 5 * r, 2 + 4 * 5 * r},
              8);
}

TEST_P(GroupNormalization, WithAsManyGroupsAsChannelsIsInstanceNormalization) {
  NormalizationValues values{.channels = 3, .gamma = {1, -2, 0.5f}, .beta = {0, 1, 2}, .epsilon = 0.5f, .groups = 3};
  const Image x = image({1, 5, 2, -3, 0, 4, 2, 2, 9}, 3), g = image({1, 2, 3, 4, 5, 6, 7, 8, 10}, 3);
  const Image y = blank(3, 3), same = blank(3, 3), dx = blank(3, 3), sameDx = blank(3, 3);
  auto group = groupNormalization(device, values);
  auto instance = instanceNormalization(device, values);
  State groupState, instanceState;
  run([&](CommandBuffer& commands) {
    group.encode(commands, {.sourceImage = x, .destinationState = &groupState, .destinationImage = y});
    instance.encode(commands, {.sourceImage = x, .destinationState = &instanceState, .destinationImage = same});
    CNNGroupNormalizationGradient(device).encode(
        commands, {.sourceGradient = g, .sourceImage = x, .gradientState = groupState, .destinationGradient = dx});
    CNNInstanceNormalizationGradient(device).encode(
        commands,
        {.sourceGradient = g, .sourceImage = x, .gradientState = instanceState, .destinationGradient = sameDx});
  });
  EXPECT_EQ(y.read<float>(), same.read<float>());
  EXPECT_EQ(dx.read<float>(), sameDx.read<float>());
  EXPECT_EQ(GroupState(groupState).gradientForGamma().read<float>(),
            InstanceState(instanceState).gradientForGamma().read<float>());
  EXPECT_EQ(GroupState(groupState).groupNormalization(), group);
}

TEST_P(GroupNormalization, TakesNilParametersForOneAndZero) {
  auto kernel = instanceNormalization(device, {.channels = 2});
  const Image x = image({1, 30, 3, 10}, 2), y = blank(2, 2);
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{-1, 1, 1, -1}));
}

TEST_P(GroupNormalization, GradientsOfTemporaryStatesAreReadInTheirCommandBuffer) {
  auto kernel = instanceNormalization(device, {.gamma = {1}});
  CNNInstanceNormalizationGradient gradient(device);
  const ImageBatch x{image({1, 3}), image({4, 2})}, g{image({1, 2}), image({5, 7})};
  const ImageBatch y{blank(2), blank(2)}, dx{blank(2), blank(2)};
  const auto result =
      CNNNormalizationGammaAndBetaState({.gamma = vectorOf(device, {0}), .beta = vectorOf(device, {0})});
  auto target = instanceNormalization(device, {});
  run([&](CommandBuffer& commands) {
    StateBatch states;
    kernel.encodeBatch(
        commands,
        {.sourceImages = x, .destinationStates = &states, .destinationStateIsTemporary = true, .destinationImages = y});
    ASSERT_EQ(states.size(), 2u);
    stateBatchIncrementReadCount(states, 1);
    gradient.encodeBatch(
        commands, {.sourceGradients = g, .sourceImages = x, .gradientStates = states, .destinationGradients = dx});
    EXPECT_EQ(states[0].readCount(), 1u);
    EXPECT_EQ(states[1].readCount(), 1u);
    const InstanceState second(states[1]);
    target.reloadGammaAndBeta(commands, CNNNormalizationGammaAndBetaState(
                                            {.gamma = second.gradientForGamma(), .beta = second.gradientForBeta()}));
    second.setReadCount(0);
    expectRefused(
        [&] {
          gradient.encodeBatch(
              commands,
              {.sourceGradients = g, .sourceImages = x, .gradientStates = states, .destinationGradients = dx});
        },
        {"CNNInstanceNormalizationGradientState", "readCount"});
  });
  EXPECT_EQ(target.parameters()->gamma.read<float>(), Floats{5 - 7});
  EXPECT_EQ(target.parameters()->beta.read<float>(), Floats{5 + 7});
}

TEST_P(GroupNormalization, WritesTheRegionThatTheForwardKernelReadAndClearsTheRest) {
  auto kernel = instanceNormalization(device, {.channels = 4});
  kernel.sourceFeatureChannelOffset = 4;
  kernel.offset.x = 1;
  kernel.clipRect.size.width = 2;
  CNNInstanceNormalizationGradient gradient(device);
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Floats values(3 * 8);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i >= 20 ? 3 : 1;  // the third pixel's last channels
  const Image x = image(values, 8), y = blank(3, 4), g = image(Floats(12, 1), 4);
  State state;
  Image dx;
  run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
    dx = gradient.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, -1, -1, 1, 1, 1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(InstanceState(state).gradientForBeta().read<float>(), (Floats{2, 2, 2, 2}));
  EXPECT_EQ(InstanceState(state).gradientForGamma().read<float>(), (Floats{0, 0, 0, 0}));
  EXPECT_EQ(dx.read<float>(), Floats(24, 0));
}

// --- Updates --------------------------------------------------------------------------------------------------------

TEST_P(GroupNormalization, ReloadsFromStatesAndFromItsSource) {
  const auto source = std::make_shared<InstanceNormalizationSource>(NormalizationValues{.gamma = {1}, .beta = {0}});
  CNNInstanceNormalization kernel(device, source);
  EXPECT_EQ(kernel.dataSource(), source);
  const Image x = image({1, 3}), y = blank(2);
  const auto values = [&] {
    run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
    return y.read<float>();
  };
  EXPECT_EQ(values(), (Floats{-1, 1}));
  run([&](CommandBuffer& commands) {
    kernel.reloadGammaAndBeta(
        commands, CNNNormalizationGammaAndBetaState({.gamma = vectorOf(device, {3}), .beta = vectorOf(device, {1})}));
  });
  EXPECT_EQ(values(), (Floats{-2, 4}));
  source->values.beta = {10};
  kernel.reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(values(), (Floats{9, 11}));
  kernel.reloadDataSource(std::make_shared<InstanceNormalizationSource>(NormalizationValues{.gamma = {2}}));
  EXPECT_EQ(values(), (Floats{-2, 2}));
  EXPECT_EQ(source->loaded, 0);
}

TEST_P(GroupNormalization, IsNotUpdatedUnlessTheSourceDoes) {
  InstanceNormalizationSource instance{NormalizationValues{}};
  GroupNormalizationSource group{NormalizationValues{}};
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  EXPECT_FALSE(instance.updateGammaAndBeta(commands, {}));
  EXPECT_FALSE(instance.updateGammaAndBeta(CNNInstanceNormalizationGradientStateBatch()));
  EXPECT_FALSE(group.updateGammaAndBeta(commands, {}));
  EXPECT_FALSE(group.updateGammaAndBeta(CNNGroupNormalizationGradientStateBatch()));
  EXPECT_EQ(instance.copy(device), nullptr);
  EXPECT_EQ(group.copy(device), nullptr);
  group.setNumberOfGroups(7);
  EXPECT_EQ(group.numberOfGroups(), 7u);
  /// Says only what a source must; `load` and `purge` are not among it.
  class PlainSource : public CNNInstanceNormalizationDataSource {
   public:
    std::size_t numberOfFeatureChannels() const override { return 1; }
    std::string label() const override { return "plain"; }
    std::span<const float> gamma() override { return {}; }
    std::span<const float> beta() override { return {}; }
  };
  const CNNInstanceNormalization kernel(device, std::make_shared<PlainSource>());
  EXPECT_EQ(kernel.epsilon, 1.17549435e-38f);
  EXPECT_EQ(kernel.label, "plain");
}

// --- Errors ---------------------------------------------------------------------------------------------------------

TEST_P(GroupNormalizationChecks, RefuseWhatNoKernelCanBeMadeOf) {
  expectRefused([&] { CNNInstanceNormalization(device, nullptr); }, {"CNNInstanceNormalization", "nil"});
  expectRefused([&] { CNNGroupNormalization(device, nullptr); }, {"CNNGroupNormalization", "nil"});
  expectRefused([&] { instanceNormalization(device, {.channels = 0}); }, {"CNNInstanceNormalization", "0 channels"});
  expectRefused([&] { groupNormalization(device, {.channels = 4, .groups = 3}); },
                {"CNNGroupNormalization", "3 groups", "4 channels"});
  expectRefused([&] { groupNormalization(device, {.channels = 4, .groups = 0}); }, {"0 groups", "4 channels"});
  expectRefused([&] { groupNormalization(device, {.channels = 2, .gamma = {1}}); }, {"gamma", "1 elements", "2"});
  expectRefused([&] { instanceNormalization(device, {.channels = 2, .beta = {1}}); }, {"beta", "1 elements", "2"});
  const auto source = std::make_shared<InstanceNormalizationSource>(NormalizationValues{});
  source->loads = false;
  expectRefused([&] { CNNInstanceNormalization(device, source); }, {"CNNInstanceNormalization", "load"});
  auto kernel = instanceNormalization(device, {.channels = 3});
  expectRefused([&] { kernel.reloadDataSource(nullptr); }, {"nil"});
  expectRefused([&] { kernel.reloadDataSource(std::make_shared<InstanceNormalizationSource>(NormalizationValues{})); },
                {"3 channels", "1"});
  expectRefused([&] { InstanceState(State(device, 16)); }, {"CNNInstanceNormalizationGradientState", "State"});
  expectRefused([&] { GroupState(State(device, 16)); }, {"CNNGroupNormalizationGradientState", "State"});
}

TEST_P(GroupNormalizationChecks, RefuseEncodesThatDoNotFit) {
  auto kernel = instanceNormalization(device, {});
  auto group = groupNormalization(device, {});
  CNNInstanceNormalizationGradient gradient(device);
  const Image x = blank(2), g = blank(2), y = blank(2), dx = blank(2), wide = blank(2, 2);
  const CNNKernel::StateArguments of{.sourceImage = x, .destinationImage = y};
  const State state = kernel.resultState(of), otherState = kernel.resultState(of);
  const auto refuses = [&](const std::function<void(CommandBuffer&)>& encode,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(device, encode, parts);
  };
  refuses([&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = wide, .destinationImage = dx}); },
          {"CNNInstanceNormalization", "channels"});
  refuses([&](CommandBuffer& c) { group.encode(c, {.sourceImage = wide, .destinationImage = blank(2, 2)}); },
          {"2 channels are read", "CNNGroupNormalization", "has 1"});
  refuses([&](CommandBuffer& c) { kernel.reloadGammaAndBeta(c, {}); }, {"gammaAndBetaState", "nil"});
  const auto batch = [&](const ImageBatch& gradients, const ImageBatch& images, const StateBatch& states) {
    return [&gradient, gradients, images, states, to = ImageBatch{dx, y}](CommandBuffer& c) {
      gradient.encodeBatch(
          c, {.sourceGradients = gradients,
              .sourceImages = images,
              .gradientStates = states,
              .destinationGradients = {to.begin(), to.begin() + static_cast<std::ptrdiff_t>(images.size())}});
    };
  };
  refuses(batch({g}, {x}, {}), {"CNNInstanceNormalizationGradient", "gradient states"});
  refuses(batch({g}, {x}, {State(device, 16)}), {"CNNInstanceNormalizationGradientState", "State"});
  refuses(batch({g}, {x}, {group.resultState(of)}), {"CNNInstanceNormalizationGradientState"});
  refuses(batch({g, g}, {x, x}, {state}), {"2 images", "1 gradient states"});
  refuses(batch({g, g}, {x, x}, {state, state}), {"share a gradient state"});
  refuses(batch({g, g}, {x, x}, {state, instanceNormalization(device, {}).resultState(of)}),
          {"several forward kernels"});
  refuses(batch({wide}, {x}, {state, otherState}), {"1 images", "2 gradient states"});
}

// --- Settings -------------------------------------------------------------------------------------------------------

const Device kNull = Device::named("null");

TEST(GroupNormalizationKernel, BehavesAsAKernel) {
  const NormalizationValues values{
      .channels = 4, .gamma = {1, 2, 3, 4}, .beta = {5, 6, 7, 8}, .epsilon = 0.5f, .groups = 2};
  const auto changed = [&](auto change) {
    NormalizationValues mine = values;
    change(mine);
    return mine;
  };
  const auto check = [&](const auto& make, auto moreChanges, const std::string& name) {
    auto kernel = make(values);
    kernel.label = "gn";
    auto moved = kernel, named = kernel, rounded = kernel;
    moved.offset.x = 3;
    named.label = "other";
    rounded.epsilon = 0.25f;
    auto scaled = make(changed([](auto& v) { v.gamma[3] = 0; }));
    auto shifted = make(changed([](auto& v) { v.beta = {}; }));
    scaled.label = shifted.label = "gn";
    std::vector<decltype(kernel)> others{moved, named, rounded, scaled, shifted};
    for (auto& other : moreChanges) {
      other.label = "gn";
      others.push_back(other);
    }
    expectBehavesAsKernel<decltype(kernel)>(kernel, others, kNull, name);
  };
  check([](const auto& v) { return instanceNormalization(kNull, v); }, std::vector<CNNInstanceNormalization>(),
        "CNNInstanceNormalization");
  check([](const auto& v) { return groupNormalization(kNull, v); },
        std::vector<CNNGroupNormalization>{groupNormalization(kNull, changed([](auto& v) { v.groups = 4; }))},
        "CNNGroupNormalization");
  const auto archive = archiveOf(groupNormalization(kNull, values));
  const auto again = decoded<CNNGroupNormalization>(archive, kNull);
  EXPECT_EQ(again.dataSource()->numberOfGroups(), 2u);
  EXPECT_EQ(again.dataSource()->gamma()[1], 2);
  expectMalformed<CNNGroupNormalization>(forged(archive, "groups", 3), kNull, "3 groups of 4 channels");
  expectMalformed<CNNGroupNormalization>(forged(archive, "groups", 0), kNull, "no groups");
}

TEST(GroupNormalizationKernel, GradientsBehaveAsKernels) {
  const auto check = [](auto kernel, const std::string& name) {
    kernel.label = "g";
    auto changed = kernel;
    changed.primaryOffset.x = 1;
    expectBehavesAsKernel<decltype(kernel)>(kernel, {changed}, kNull, name);
  };
  check(CNNInstanceNormalizationGradient(kNull), "CNNInstanceNormalizationGradient");
  check(CNNGroupNormalizationGradient(kNull), "CNNGroupNormalizationGradient");
}

}  // namespace
}  // namespace metalloid::test
