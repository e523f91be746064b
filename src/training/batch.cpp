#include "training/batch.hpp"

#include "training/array_parts.hpp"

#include <metalloid/cnn_loss_labels.hpp>

#include <vector>

namespace metalloid::training {
namespace {

template <class Object>
std::vector<Object> firstOf(const std::vector<Object>& all, std::size_t count) {
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(count, all.size()))};
}

}  // namespace

BatchSlot::BatchSlot(const Device& device, const BatchLayout& layout, std::size_t maximumRows)
    : classes_(layout.classes) {
  whole_.labels = Vector(device, {.length = maximumRows, .dataType = DataType::uInt32});
  if (classes_ == 0) {
    whole_.inputs = Matrix(device, {.rows = maximumRows, .columns = layout.inputs()});
    return;
  }
  const auto images = [&](const ImageShape& shape, std::size_t number) {
    return Image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                          .width = shape.width,
                          .height = shape.height,
                          .featureChannels = shape.channels,
                          .numberOfImages = number});
  };
  const Image inputs = images(layout.image, maximumRows);
  whole_.inputs = rowsOf(inputs);
  whole_.images = inputs.batchRepresentation();
  oneHot_ = images({1, 1, classes_}, maximumRows);
  weights_ = images({1, 1, classes_}, 1);
  for (const Image& labels : oneHot_.batchRepresentation()) {
    whole_.targets.push_back(
        CNNLossLabels(device, CNNLossLabels::ImageArguments{.labelsImage = labels, .weightsImage = weights_}));
  }
}

void BatchSlot::write(std::size_t rows, std::span<const float> inputs, std::span<const std::uint32_t> labels) {
  firstRows(whole_.inputs, rows).write(inputs);
  someElements(whole_.labels, 0, rows).write(labels);
  if (classes_ == 0) return;
  std::vector<float> oneHot(rows * classes_);
  for (std::size_t row = 0; row < rows; ++row) {
    if (labels[row] < classes_) oneHot[row * classes_ + labels[row]] = 1;
  }
  firstRows(rowsOf(oneHot_), rows).write(oneHot);
  if (rows == rows_) return;
  // The loss of a batch is the mean over its samples, whatever their number.
  weights_.write(std::vector<float>(classes_, 1.0f / static_cast<float>(rows)));
  rows_ = rows;
}

Batch BatchSlot::batch(std::size_t rows) const {
  return {.inputs = firstRows(whole_.inputs, rows),
          .labels = someElements(whole_.labels, 0, rows),
          .images = firstOf(whole_.images, rows),
          .targets = firstOf(whole_.targets, rows)};
}

void BatchSlot::setLabel(const std::string& label) {
  whole_.inputs.setLabel("images of " + label);
  whole_.labels.setLabel("labels of " + label);
  for (const Image& image : whole_.images) image.setLabel("image of " + label);
  for (const State& targets : whole_.targets) targets.setLabel("labels of " + label);
}

}  // namespace metalloid::training
