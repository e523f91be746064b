#pragma once

#include "core/settings_visitor.hpp"
#include "core/state_implementation.hpp"
#include "operations/cnn_loss.hpp"

#include <metalloid/cnn_loss.hpp>

#include <string>
#include <string_view>

/// What the kernels of losses share: their descriptor, checked and archived, and their labels.
namespace metalloid::detail {

/// What is wrong with a descriptor, as a sentence; empty when nothing is.
std::string lossComplaint(std::string_view kernelName, const CNNLossDescriptor& descriptor);
/// @throws Error (invalidArgument) with the complaint.
void checkLoss(std::string_view className, const CNNLossDescriptor& descriptor);

operations::LossSettings settingsOf(const CNNLossDescriptor& descriptor);

/// Every setting. What an archive says is checked as what a constructor is given.
void visit(SettingsVisitor& visitor, std::string_view className, CNNLossDescriptor& descriptor);

/// Behind CNNLossLabels.
class LossLabelsImplementation final : public StateImplementation {
 public:
  LossLabelsImplementation(Ref<DeviceImplementation> device, const Size& lossImageSize, Image labels, Image weights);

  const Image& loss() const { return images().front(); }
  const Image& labels() const { return labels_; }
  const Image& weights() const { return weights_; }
  std::string_view className() const override { return "CNNLossLabels"; }

 private:
  Image labels_;
  Image weights_;
};

}  // namespace metalloid::detail
