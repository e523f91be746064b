#pragma once

#include "operations/image_views.hpp"

#include <metalloid/cnn_loss_type.hpp>

#include <cstddef>

namespace metalloid::operations {

/// The scalars of a loss.
struct LossSettings {
  CNNLossType type = CNNLossType::meanAbsoluteError;
  CNNReductionType reduction = CNNReductionType::none;
  bool reduceAcrossBatch = false;
  float weight = 1;
  float labelSmoothing = 0;
  std::size_t numberOfClasses = 1;
  float epsilon = 1e-7F;
  float delta = 1;

  friend bool operator==(const LossSettings&, const LossSettings&) = default;
};

/// The weighted loss of each image, reduced as the settings say, and its unreduced gradient for the source.
struct CNNLoss {
  static constexpr const char* kName = "CNNLoss";
  ImageView source;    // predictions
  ImageView labels;    // the source's size
  ImageView weights;   // the source's size, optional: 1
  ImageView loss;      // the source's size without reduction, else 1 x 1 x 1; optional
  ImageView gradient;  // the source's size; optional
  LossSettings settings;

  friend bool operator==(const CNNLoss&, const CNNLoss&) = default;
};

/// result = incoming gradient * weight * d loss / d source, or d loss / d labels; divided, where that is asked for, by
/// what the reduction divides the sum of the losses by
struct NNLossGradient {
  static constexpr const char* kName = "NNLossGradient";
  ImageView gradient;  // the source's size, or 1 x 1 x 1 for all of an image
  ImageView source;
  ImageView labels;
  ImageView weights;  // optional: 1
  ImageView result;
  bool forLabels = false;
  bool isDivided = false;
  LossSettings settings;

  friend bool operator==(const NNLossGradient&, const NNLossGradient&) = default;
};

}  // namespace metalloid::operations
