#include "kernels/kernel_checks.hpp"

#include <metalloid/nn_forward_loss.hpp>

#include <vector>

namespace metalloid::test {
namespace {

using Reduction = CNNReductionType;

class ForwardLossValues : public OnDevice {};
class ForwardLossChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, ForwardLossValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, ForwardLossChecks, testing::Values("reference", "cpu", "null"), deviceName);

Image floatImage(const Device& device, const Size& size, const std::vector<float>& values = {}) {
  const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                             .width = size.width,
                             .height = size.height,
                             .featureChannels = size.depth});
  if (!values.empty()) image.write(values);
  return image;
}

using Values = std::vector<double>;

/// 2 x 2 x 1 with y - t = 1, 2, 3, 4.
struct Squares {
  explicit Squares(const Device& device)
      : y(floatImage(device, {2, 2, 1}, {1, 3, 5, 7})), labels(floatImage(device, {2, 2, 1}, {0, 1, 2, 3})) {}
  Image y, labels;
};

TEST_P(ForwardLossValues, valueOfEveryReduction) {
  const Squares x(device);
  const Image weights = floatImage(device, {2, 2, 1}, {1, 0, 2, 1});
  const auto loss = [&](Reduction reduction, const ImageBatch& weightImages) {
    const Size size = reduction == Reduction::none ? Size{2, 2, 1} : Size{1, 1, 1};
    const Image result = floatImage(device, size);
    NNForwardLoss kernel(device, {.lossType = CNNLossType::meanSquaredError, .reductionType = reduction});
    execute(device, [&](CommandBuffer& commands) {
      kernel.encodeBatch(
          commands,
          {.sourceImages = {x.y}, .labels = {x.labels}, .weights = weightImages, .destinationImages = {result}});
    });
    return result.read<double>();
  };
  EXPECT_EQ(loss(Reduction::none, {}), (Values{1, 4, 9, 16}));
  EXPECT_EQ(loss(Reduction::sum, {}), Values{30});
  EXPECT_EQ(loss(Reduction::mean, {}), Values{7.5});
  EXPECT_EQ(loss(Reduction::sumByNonZeroWeights, {}), Values{7.5});
  EXPECT_EQ(loss(Reduction::none, {weights}), (Values{1, 0, 18, 16}));
  EXPECT_EQ(loss(Reduction::sum, {weights}), Values{35});
  EXPECT_EQ(loss(Reduction::mean, {weights}), Values{8.75});
  EXPECT_NEAR(loss(Reduction::sumByNonZeroWeights, {weights}).at(0), 35.0 / 3, 35 * 0x1p-24);
}

/// The probe of O-LOSS-9: without a factor of the reduction, unless that is asked for.
TEST_P(ForwardLossValues, gradientTakesTheReductionOnlyWhenAsked) {
  const Squares x(device);
  const Image weights = floatImage(device, {2, 2, 1}, {1, 0, 2, 1});
  const auto gradient = [&](const CNNLossDescriptor& d, bool appliesReduction, const ImageBatch& weightImages = {}) {
    NNLossGradient kernel(device, d);
    kernel.appliesReduction = appliesReduction;
    const Image result = floatImage(device, {2, 2, 1});
    execute(device, [&](CommandBuffer& commands) {
      kernel.encodeBatch(commands, {.sourceGradients = {floatImage(device, {1, 1, 1}, {1})},
                                    .sourceImages = {x.y},
                                    .labels = {x.labels},
                                    .weights = weightImages,
                                    .destinationGradients = {result}});
    });
    return result.read<double>();
  };
  const auto with = [](Reduction reduction) {
    return CNNLossDescriptor{.lossType = CNNLossType::meanSquaredError, .reductionType = reduction};
  };
  for (const Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean, Reduction::sumByNonZeroWeights})
    EXPECT_EQ(gradient(with(reduction), false), (Values{2, 4, 6, 8}));
  EXPECT_EQ(gradient(with(Reduction::none), true), (Values{2, 4, 6, 8}));
  EXPECT_EQ(gradient(with(Reduction::sum), true), (Values{2, 4, 6, 8}));
  EXPECT_EQ(gradient(with(Reduction::mean), true), (Values{0.5, 1, 1.5, 2}));
  EXPECT_EQ(gradient(with(Reduction::sumByNonZeroWeights), true), (Values{0.5, 1, 1.5, 2}));
  const auto weighted = gradient(with(Reduction::sumByNonZeroWeights), true, {weights});
  const Values thirds = {2.0 / 3, 0, 4, 8.0 / 3};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(weighted[i], thirds[i], 4 * 3 * 0x1p-24) << i;
  const Image none = floatImage(device, {2, 2, 1}, {0, 0, 0, 0});
  EXPECT_EQ(gradient(with(Reduction::sumByNonZeroWeights), true, {none}), (Values{0, 0, 0, 0}));
}

TEST_P(ForwardLossValues, gradientTakesTheIncomingOne) {
  const Squares x(device);
  const auto gradient = [&](const Image& incoming, bool forLabels) {
    NNLossGradient kernel(device, {.lossType = CNNLossType::meanSquaredError, .weight = 0.5F});
    kernel.computeLabelGradients = forLabels;
    const Image result = floatImage(device, {2, 2, 1});
    execute(device, [&](CommandBuffer& commands) {
      kernel.encodeBatch(commands, {.sourceGradients = {incoming},
                                    .sourceImages = {x.y},
                                    .labels = {x.labels},
                                    .destinationGradients = {result}});
    });
    return result.read<double>();
  };
  EXPECT_EQ(gradient(floatImage(device, {1, 1, 1}, {3}), false), (Values{3, 6, 9, 12}));
  EXPECT_EQ(gradient(floatImage(device, {2, 2, 1}, {1, 0, -1, 2}), false), (Values{1, 0, -3, 8}));
  EXPECT_EQ(gradient(floatImage(device, {2, 2, 1}, {1, 0, -1, 2}), true), (Values{-1, 0, 3, -8}));
}

/// Huber's delta and the weight as they were at the forward encode.
TEST_P(ForwardLossValues, statesCarryTheSettings) {
  const Squares x(device);
  NNForwardLoss forward(device, {.lossType = CNNLossType::huber});
  NNLossGradient backward(device, {.lossType = CNNLossType::huber});
  const Image loss = floatImage(device, {1, 1, 1}), gradient = floatImage(device, {2, 2, 1});
  const Image one = floatImage(device, {1, 1, 1}, {1});
  execute(device, [&](CommandBuffer& commands) {
    StateBatch states = {forward.resultState({.sourceImage = x.y, .destinationImage = loss})};
    forward.delta = 3;
    forward.weight = 2;
    forward.encodeBatch(
        commands,
        {.sourceImages = {x.y}, .labels = {x.labels}, .destinationStates = states, .destinationImages = {loss}});
    forward.delta = 100;
    backward.delta = 50;
    backward.encodeBatch(commands, {.sourceGradients = {one},
                                    .sourceImages = {x.y},
                                    .labels = {x.labels},
                                    .sourceStates = states,
                                    .destinationGradients = {gradient}});
  });
  EXPECT_EQ(loss.read<double>(), Values{2 * (0.5 + 2 + 4.5 + 4.5 + 3)});
  EXPECT_EQ(gradient.read<double>(), (Values{2, 4, 6, 6}));
}

TEST_P(ForwardLossValues, makesItsDestinations) {
  const Squares x(device);
  NNForwardLoss forward(device, {.lossType = CNNLossType::meanSquaredError, .reductionType = Reduction::mean});
  NNLossGradient backward(device, {.lossType = CNNLossType::meanSquaredError});
  NNInitialGradient seed(device);
  forward.destinationImageAllocator = backward.destinationImageAllocator = seed.destinationImageAllocator =
      Image::defaultAllocator();
  ImageBatch loss, ones, gradient;
  StateBatch states;
  execute(device, [&](CommandBuffer& commands) {
    loss = forward.encodeBatch(
        commands, {.sourceImages = {x.y, x.labels}, .labels = {x.labels, x.y}, .destinationStates = &states});
    ones = seed.encodeBatch(commands, {.sourceImages = loss});
    gradient = backward.encodeBatch(
        commands,
        {.sourceGradients = ones, .sourceImages = {x.y, x.labels}, .labels = {x.labels, x.y}, .sourceStates = states});
  });
  ASSERT_EQ(loss.size(), 2U);
  EXPECT_EQ(states.size(), 2U);
  EXPECT_EQ(loss[1].descriptor(), (ImageDescriptor{.channelFormat = ImageFeatureChannelFormat::float32}));
  EXPECT_EQ(loss[1].read<double>(), Values{7.5});
  EXPECT_EQ(ones[1].read<double>(), Values{1});
  EXPECT_EQ(gradient[1].read<double>(), (Values{-2, -4, -6, -8}));
}

TEST_P(ForwardLossValues, initialGradientIsOneEverywhere) {
  const Image x = floatImage(device, {3, 2, 5}, std::vector<float>(30, kNaN)), dx = floatImage(device, {3, 2, 5});
  NNInitialGradient kernel(device);
  execute(device,
          [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = dx}); });
  EXPECT_EQ(dx.read<double>(), Values(30, 1));
}

TEST_P(ForwardLossChecks, refuses) {
  const Size size{2, 1, 3};
  const Image y = floatImage(device, size), labels = floatImage(device, size), loss = floatImage(device, {1, 1, 1});
  const Image small = floatImage(device, {1, 1, 3});
  const auto forward = [&](const std::function<void(NNForwardLoss&)>& change,
                           const NNForwardLoss::BatchArguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    NNForwardLoss kernel(device, {});
    change(kernel);
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encodeBatch(commands, arguments); }, parts);
  };
  const auto nothing = [](auto&) {};
  forward(nothing, {.sourceImages = {y}, .labels = {small}, .destinationImages = {loss}},
          {"labels of NNForwardLoss must be of 1 x 2 x 3, but is of 1 x 1 x 3"});
  forward(nothing, {.sourceImages = {y}, .labels = {labels}, .weights = {small}, .destinationImages = {loss}},
          {"weights of NNForwardLoss"});
  forward(nothing, {.sourceImages = {y}, .labels = {labels}, .destinationImages = {small}},
          {"destinationImage of NNForwardLoss must be of 1 x 1 x 1"});
  forward(nothing, {.sourceImages = {y}, .labels = {}, .destinationImages = {loss}}, {"nil"});
  forward(nothing, {.sourceImages = {y}, .labels = {labels, labels}, .destinationImages = {loss}},
          {"2 images of the labels"});
  forward([](auto& k) { k.offset.x = 1; }, {.sourceImages = {y}, .labels = {labels}, .destinationImages = {loss}},
          {"whole images"});
  forward([](auto& k) { k.clipRect.size.width = 1; },
          {.sourceImages = {y}, .labels = {labels}, .destinationImages = {loss}}, {"clipRect"});
  forward([](auto& k) { k.delta = -1; }, {.sourceImages = {y}, .labels = {labels}, .destinationImages = {loss}},
          {"delta of NNForwardLoss is -1"});
  forward(nothing,
          {.sourceImages = {y},
           .labels = {labels},
           .destinationStates = StateBatch{State(device, 4)},
           .destinationImages = {loss}},
          {"destinationState"});
  expectRefused([&] { NNForwardLoss(device, {.lossType = CNNLossType::count}); }, {"lossType of a NNForwardLoss"});

  const auto backward = [&](const std::function<void(NNLossGradient&)>& change,
                            const NNLossGradient::BatchArguments& arguments,
                            std::initializer_list<std::string_view> parts) {
    NNLossGradient kernel(device, {});
    change(kernel);
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encodeBatch(commands, arguments); }, parts);
  };
  const Image result = floatImage(device, size);
  backward(nothing,
           {.sourceGradients = {small}, .sourceImages = {y}, .labels = {labels}, .destinationGradients = {result}},
           {"sourceGradient of NNLossGradient must be of 1 x 2 x 3"});
  backward(nothing,
           {.sourceGradients = {loss}, .sourceImages = {y}, .labels = {small}, .destinationGradients = {result}},
           {"labels of NNLossGradient"});
  backward(nothing,
           {.sourceGradients = {loss}, .sourceImages = {y}, .labels = {labels}, .destinationGradients = {small}},
           {"destinationGradient of NNLossGradient"});
  backward([](auto& k) { k.secondaryOffset.y = 1; },
           {.sourceGradients = {loss}, .sourceImages = {y}, .labels = {labels}, .destinationGradients = {result}},
           {"whole images"});
  backward(nothing,
           {.sourceGradients = {loss},
            .sourceImages = {y},
            .labels = {labels},
            .sourceStates = {State(device, 4)},
            .destinationGradients = {result}},
           {"must come from an NNForwardLoss"});
}

TEST_P(ForwardLossChecks, behaveAsKernels) {
  const CNNLossDescriptor d{.lossType = CNNLossType::softMaxCrossEntropy,
                            .reductionType = Reduction::mean,
                            .reduceAcrossBatch = true,
                            .weight = 0.25F,
                            .labelSmoothing = 0.125F,
                            .numberOfClasses = 10,
                            .epsilon = 0.5F,
                            .delta = 2};
  const auto changedFrom = [&](const auto& kernel) {
    std::vector<std::remove_cvref_t<decltype(kernel)>> changed(5, kernel);
    changed[0].weight = 1;
    changed[1].labelSmoothing = 0;
    changed[2].epsilon = 1;
    changed[3].delta = 1;
    changed[4].label = "another";
    return changed;
  };
  NNForwardLoss forward(device, d);
  forward.label = "loss";
  expectBehavesAsKernel(forward, changedFrom(forward), device, "NNForwardLoss");
  EXPECT_EQ(forward.lossType(), d.lossType);
  EXPECT_EQ(forward.reductionType(), d.reductionType);
  EXPECT_TRUE(forward.reduceAcrossBatch());
  EXPECT_EQ(forward.numberOfClasses(), 10U);

  NNLossGradient backward(device, d);
  backward.label = "gradient";
  EXPECT_FALSE(backward.computeLabelGradients);
  EXPECT_FALSE(backward.appliesReduction);
  auto changed = changedFrom(backward);
  changed.push_back(backward);
  changed.back().computeLabelGradients = true;
  changed.push_back(backward);
  changed.back().appliesReduction = true;
  expectBehavesAsKernel(backward, changed, device, "NNLossGradient");

  NNInitialGradient seed(device), other_(device);
  seed.label = "seed";
  expectBehavesAsKernel(seed, {other_}, device, "NNInitialGradient");
}

}  // namespace
}  // namespace metalloid::test
