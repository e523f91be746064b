#include "operations/cnn_loss.hpp"

#include "core/format.hpp"
#include "kernels/image_geometry.hpp"
#include "kernels/loss_settings.hpp"

#include <metalloid/cnn_loss.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <functional>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::LossLabelsImplementation;

namespace {

/// The images behind the labels of a batch.
struct LabelImages {
  ImageBatch labels;
  ImageBatch weights;
  ImageBatch losses;
};

LabelImages imagesOf(Encoding& encoding, const StateBatch& states) {
  LabelImages images;
  std::vector<const LossLabelsImplementation*> seen;
  for (const State& state : states) {
    encoding.reads("labels", state);
    const auto* const labels = dynamic_cast<const LossLabelsImplementation*>(&detail::implementation(state));
    if (!labels) {
      encoding.refuse(fmt::format("The labels of {} must be CNNLossLabels, but a {} is given.", encoding.kernelName(),
                                  detail::implementation(state).name()));
    }
    images.labels.push_back(labels->labels());
    images.losses.push_back(labels->loss());
    if (labels->weights()) images.weights.push_back(labels->weights());
    seen.push_back(labels);
  }
  if (!images.weights.empty() && images.weights.size() != states.size()) {
    encoding.refuse(
        fmt::format("{} of the {} labels have weights, but all or none must.", images.weights.size(), states.size()));
  }
  std::sort(seen.begin(), seen.end(), std::less<>());
  if (std::adjacent_find(seen.begin(), seen.end()) != seen.end())
    encoding.refuse("The same labels are given for two images, but they have one loss image.");
  return images;
}

void requireSize(const Encoding& encoding, std::string_view role, const Encoding::ImageOperand& operand,
                 std::size_t width, std::size_t height, std::size_t channels) {
  if (!operand.given() || (operand.width() == width && operand.height() == height && operand.channels() == channels))
    return;
  encoding.refuse(fmt::format("The {} of {} must be of {} x {} x {}, but is of {} x {} x {}.", role,
                              encoding.kernelName(), height, width, channels, operand.height(), operand.width(),
                              operand.channels()));
}

}  // namespace

CNNLoss::CNNLoss(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : CNNKernel(device, "CNNLoss"), descriptor_(lossDescriptor) {
  detail::checkLoss("CNNLoss", descriptor_);
}

CNNLoss::CNNLoss(Unarchiver& coder, const Device& device) : CNNLoss(device, CNNLossDescriptor{}) { decode(coder); }

Image CNNLoss::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  ImageOperands operands{.sources = {{arguments.sourceImage}},
                         .sourceStates = {arguments.labels},
                         .destinationStates = {},
                         .destinations = {}};
  if (arguments.destinationImage) operands.destinations = {arguments.destinationImage};
  return run(commandBuffer, std::move(operands), nullptr, false).front();
}

ImageBatch CNNLoss::encode(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  return run(commandBuffer,
             {.sources = {arguments.sourceImages},
              .sourceStates = arguments.labels,
              .destinationStates = {},
              .destinations = arguments.destinationImages},
             nullptr, false);
}

void CNNLoss::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::pointwiseViews(encoding, *this, operands);
  const auto& source = views.source;
  if (operands.sourceStates.size() != source.images) {
    encoding.refuse(fmt::format("There are {} labels for {} source images, but {} needs one for each.",
                                operands.sourceStates.size(), source.images, encoding.kernelName()));
  }
  const LabelImages images = imagesOf(encoding, operands.sourceStates);
  auto labels = encoding.source("labelsImage", images.labels);
  auto weights = encoding.optionalSource("weightsImage", images.weights);
  auto loss = encoding.result("lossImage", images.losses);
  requireSize(encoding, "labelsImage", labels, source.width, source.height, source.channels);
  requireSize(encoding, "weightsImage", weights, source.width, source.height, source.channels);
  const bool isReduced = descriptor_.reductionType != CNNReductionType::none;
  requireSize(encoding, "lossImage", loss, isReduced ? 1 : source.width, isReduced ? 1 : source.height,
              isReduced ? 1 : source.channels);
  encoding.record(operations::CNNLoss{.source = std::move(views.source),
                                      .labels = labels.view(),
                                      .weights = weights.view(),
                                      .loss = loss.view(),
                                      .gradient = std::move(views.result),
                                      .settings = detail::settingsOf(descriptor_)});
}

CNNLoss CNNLoss::copy(const Device& device) const { return copyOf(*this, device); }

void CNNLoss::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  detail::visit(visitor, "CNNLoss", descriptor_);
}

}  // namespace metalloid
