#pragma once

#include "math/annotations.hpp"

#include <metalloid/cnn_loss_type.hpp>

#include <cstddef>
#include <type_traits>

namespace metalloid::math {

/// A loss with the constants that its formulas (math/loss_formulas.inc) need. Plain data: pass it to a kernel by value.
struct Loss {
  CNNLossType type = CNNLossType::meanAbsoluteError;
  double labelScale = 1;  // t = labelScale * label + labelShare: label smoothing
  double labelShare = 0;
  double epsilon = 0;  // Log
  double delta = 0;    // Huber

  friend bool operator==(const Loss&, const Loss&) = default;
};
static_assert(std::is_trivially_copyable_v<Loss>);

/// `labelSmoothing` counts where the type knows it and it is greater than 0: soft-max cross entropy shares it among
/// `numberOfClasses`, sigmoid cross entropy between two.
inline Loss makeLoss(CNNLossType type, float labelSmoothing, std::size_t numberOfClasses, float epsilon, float delta) {
  Loss loss{.type = type, .epsilon = double{epsilon}, .delta = double{delta}};
  const bool isSoftMax = type == CNNLossType::softMaxCrossEntropy;
  if (labelSmoothing > 0 && (isSoftMax || type == CNNLossType::sigmoidCrossEntropy)) {
    loss.labelScale = 1 - double{labelSmoothing};
    loss.labelShare = double{labelSmoothing} / (isSoftMax ? static_cast<double>(numberOfClasses) : 2.0);
  }
  return loss;
}

/// A loss type as a compile-time tag.
template <CNNLossType kType>
using LossTag = std::integral_constant<CNNLossType, kType>;

/// Calls visitor(LossTag<type>{}) for the type given at run time. A value outside the enumeration, which no kernel
/// accepts, counts as the mean absolute error.
template <class Visitor>
METALLOID_HOST_DEVICE decltype(auto) dispatch(CNNLossType type, Visitor&& visitor) {
  switch (type) {
    case CNNLossType::meanSquaredError:
      return visitor(LossTag<CNNLossType::meanSquaredError>{});
    case CNNLossType::softMaxCrossEntropy:
      return visitor(LossTag<CNNLossType::softMaxCrossEntropy>{});
    case CNNLossType::sigmoidCrossEntropy:
      return visitor(LossTag<CNNLossType::sigmoidCrossEntropy>{});
    case CNNLossType::categoricalCrossEntropy:
      return visitor(LossTag<CNNLossType::categoricalCrossEntropy>{});
    case CNNLossType::hinge:
      return visitor(LossTag<CNNLossType::hinge>{});
    case CNNLossType::huber:
      return visitor(LossTag<CNNLossType::huber>{});
    case CNNLossType::cosineDistance:
      return visitor(LossTag<CNNLossType::cosineDistance>{});
    case CNNLossType::log:
      return visitor(LossTag<CNNLossType::log>{});
    case CNNLossType::kullbackLeiblerDivergence:
      return visitor(LossTag<CNNLossType::kullbackLeiblerDivergence>{});
    case CNNLossType::meanAbsoluteError:
    case CNNLossType::count:
      break;
  }
  return visitor(LossTag<CNNLossType::meanAbsoluteError>{});
}

}  // namespace metalloid::math
