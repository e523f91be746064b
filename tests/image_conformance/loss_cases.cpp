#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_loss.hpp>
#include <metalloid/cnn_neuron.hpp>
#include <metalloid/nn_forward_loss.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid::image_conformance {
namespace {

// A formula rounds up to 12 times; functions of float32 deviate by up to 3 units. What they are made of is at most
// kMagnitude: values, logarithms and derivatives for the ranges drawn here.
constexpr double kRoundings = 16;
constexpr double kMagnitude = 16;

struct Draw {
  CNNLossDescriptor descriptor;
  Range predictions{-3, 3};
  bool labelsAreBinary = false;
};

/// A type, a reduction and every other setting. The predictions' range keeps away from where logarithms and quotients
/// magnify the rounding of their arguments.
Draw draw(ImageTrial& t, std::size_t channels) {
  Draw d;
  d.descriptor.lossType = static_cast<CNNLossType>(t.random().below(10));
  const bool isCosine = d.descriptor.lossType == CNNLossType::cosineDistance;
  d.descriptor.reductionType = isCosine ? CNNReductionType::sum : static_cast<CNNReductionType>(t.random().below(4));
  d.descriptor.reduceAcrossBatch = t.random().coin();
  d.descriptor.weight = t.oneOf({1.0F, 0.25F, -2.0F});
  d.descriptor.labelSmoothing = t.oneOf({0.0F, 0.125F});
  d.descriptor.numberOfClasses = channels;
  d.descriptor.epsilon = t.oneOf({1e-7F, 0.0F, 0.0625F});
  d.descriptor.delta = t.oneOf({1.0F, 0.5F, 4.0F});
  switch (d.descriptor.lossType) {
    case CNNLossType::categoricalCrossEntropy:
    case CNNLossType::log:
      d.predictions = {0.125, 0.875};
      break;
    case CNNLossType::kullbackLeiblerDivergence:
      d.predictions = {-4, -0.125};
      break;
    default:
      break;
  }
  d.labelsAreBinary = d.descriptor.lossType == CNNLossType::hinge || t.random().coin();
  return d;
}

struct Operands {
  const Operand& y;
  const Operand& labels;
  const Operand* weights;
};

/// Predictions lie on odd multiples of 2^-7 and labels on multiples of 2^-4: |y - t| is never 0, and never delta.
Operands operands(ImageTrial& t, const Draw& d, std::size_t w, std::size_t h, std::size_t c) {
  const auto format = t.variant().format;
  const bool isUnsigned = format == ImageFeatureChannelFormat::unorm8 || format == ImageFeatureChannelFormat::unorm16;
  const double lower = isUnsigned ? std::max(d.predictions.lower, 0.125) : d.predictions.lower;
  const double upper = isUnsigned ? 0.875 : std::max(d.predictions.upper, lower + 0.125);
  const auto& y = t.source("sourceImage", format, w, h, c, [&t, lower, upper] {
    return (2 * std::floor(t.random().uniform(lower, upper) * 64) + 1) * 0x1p-7;
  });
  const bool isBinary = d.labelsAreBinary;
  const auto& labels = t.source("labels", format, w, h, c, [&t, isBinary] {
    return isBinary ? static_cast<double>(t.random().below(2)) : static_cast<double>(t.random().below(17)) / 16;
  });
  const Operand* const weights =
      t.random().coin()
          ? &t.source("weights", format, w, h, c, [&t] { return static_cast<double>(t.random().below(5)) / 4; })
          : nullptr;
  return {y, labels, weights};
}

/// A place for the losses, which are always float32: one number an image, or one for each element.
const Operand& losses(ImageTrial& t, const CNNLossDescriptor& d, std::size_t w, std::size_t h, std::size_t c) {
  const bool isReduced = d.reductionType != CNNReductionType::none;
  return t.result("losses", ImageFeatureChannelFormat::float32, isReduced ? 1 : w, isReduced ? 1 : h,
                  isReduced ? 1 : c);
}

/// The loss of an image is a sum of terms; each has its roundings, and so has each addition.
void compareLosses(ImageTrial& t, const Operand& losses, const CNNLossDescriptor& d, std::size_t elementsOfImage) {
  const bool isReduced = d.reductionType != CNNReductionType::none;
  const std::size_t elements = isReduced ? elementsOfImage * (d.reduceAcrossBatch ? t.images() : 1) : 1;
  const bool isSum = d.reductionType == CNNReductionType::sum || d.lossType == CNNLossType::softMaxCrossEntropy;
  t.compare(losses, kRoundings + static_cast<double>(std::min<std::size_t>(elements, 1024)),
            kMagnitude * (isSum ? static_cast<double>(elements) : 1));
}

/// Labels objects make their loss images themselves, apart from each other: a copy brings the losses to the trial's.
void copyLosses(const Device& device, CommandBuffer& commands, const CNNLossLabelsBatch& labels,
                const Operand& losses) {
  ImageBatch images;
  for (const CNNLossLabels& one : labels) images.push_back(one.lossImage());
  CNNNeuron(device, {}).encodeBatch(commands, {.sourceImages = images, .destinationImages = losses.images()});
}

void forwardLoss(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const Draw d = draw(t, c);
  const Operands x = operands(t, d, w, h, c);
  const auto& loss = losses(t, d.descriptor, w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNForwardLoss(device, d.descriptor)
        .encodeBatch(commands, {.sourceImages = x.y.images(),
                                .labels = x.labels.images(),
                                .weights = x.weights ? x.weights->images() : ImageBatch(),
                                .destinationImages = loss.images()});
  });
  compareLosses(t, loss, d.descriptor, w * h * c);
}

/// Value and gradient at once.
void loss(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const Draw d = draw(t, c);
  const Operands x = operands(t, d, w, h, c);
  const bool isReduced = d.descriptor.reductionType != CNNReductionType::none;
  const auto& gradient = t.result("destinationImage", w, h, c);
  const auto& values = losses(t, d.descriptor, w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNLossLabelsBatch batch;
    for (std::size_t n = 0; n < t.images(); ++n) {
      batch.emplace_back(device,
                         CNNLossLabels::ImageArguments{.lossImageSize = isReduced ? Size{1, 1, 1} : Size{w, h, c},
                                                       .labelsImage = x.labels.images()[n],
                                                       .weightsImage = x.weights ? x.weights->images()[n] : Image()});
    }
    CNNLoss(device, d.descriptor)
        .encode(commands, {.sourceImages = x.y.images(), .labels = batch, .destinationImages = gradient.images()});
    copyLosses(device, commands, batch, values);
  });
  t.compare(gradient, kRoundings, kMagnitude);
  compareLosses(t, values, d.descriptor, w * h * c);
}

void lossGradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const Draw d = draw(t, c);
  const bool forLabels = t.random().coin(), isOneForAll = t.random().coin(), appliesReduction = t.random().coin();
  const Operands x = operands(t, d, w, h, c);
  const auto& incoming =
      t.source("sourceGradient", isOneForAll ? 1 : w, isOneForAll ? 1 : h, isOneForAll ? 1 : c, {-1, 1});
  const auto& result = t.result("destinationGradient", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNLossGradient kernel(device, d.descriptor);
    kernel.computeLabelGradients = forLabels;
    kernel.appliesReduction = appliesReduction;
    kernel.encodeBatch(commands, {.sourceGradients = incoming.images(),
                                  .sourceImages = x.y.images(),
                                  .labels = x.labels.images(),
                                  .weights = x.weights ? x.weights->images() : ImageBatch(),
                                  .destinationGradients = result.images()});
  });
  t.compare(result, kRoundings, kMagnitude);
}

/// One pixel with ten channels: the end of a classifier.
void classes(ImageTrial& t) {
  const std::size_t c = t.oneOf<std::size_t>({1, 2, 3, 10, 16, 17, 100});
  const CNNLossDescriptor descriptor{.lossType = CNNLossType::softMaxCrossEntropy, .weight = 0.25F};
  const auto& y = t.source("sourceImage", 1, 1, c, {-8, 8});
  const auto& labels = t.source("labels", 1, 1, c, {0, 1});
  const auto& gradient = t.result("destinationImage", 1, 1, c);
  const auto& values = losses(t, descriptor, 1, 1, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNLossLabelsBatch batch;
    for (std::size_t n = 0; n < t.images(); ++n)
      batch.emplace_back(device, CNNLossLabels::ImageArguments{.labelsImage = labels.images()[n]});
    CNNLoss(device, descriptor)
        .encode(commands, {.sourceImages = y.images(), .labels = batch, .destinationImages = gradient.images()});
    copyLosses(device, commands, batch, values);
  });
  t.compare(gradient, kRoundings, kMagnitude);
  compareLosses(t, values, descriptor, c);
}

}  // namespace

std::vector<Case> lossCases() {
  using enum ImageFeatureChannelFormat;
  return {{"ForwardLoss", forwardLoss, {float32, float16, unorm8, unorm16}},
          {"Loss", loss, {float32, float16, unorm8}},
          {"LossGradient", lossGradient},
          {"LossOfClasses", classes}};
}

}  // namespace metalloid::image_conformance
