#include "kernels/loss_settings.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

namespace metalloid::detail {

std::string lossComplaint(std::string_view kernelName, const CNNLossDescriptor& d) {
  const auto complaint = [&](std::string_view setting, auto value, std::string_view need) {
    return fmt::format("The {} of {} is {}, but {}.", setting, kernelName, value, need);
  };
  if (d.lossType >= CNNLossType::count)
    return complaint("lossType", static_cast<std::uint32_t>(d.lossType), "there is no such loss");
  if (d.reductionType < CNNReductionType::none || d.reductionType >= CNNReductionType::count)
    return complaint("reductionType", static_cast<std::int32_t>(d.reductionType), "there is no such reduction");
  if (d.lossType == CNNLossType::cosineDistance && d.reductionType != CNNReductionType::sum)
    return complaint("reductionType", static_cast<std::int32_t>(d.reductionType), "cosineDistance takes only sum");
  if (d.numberOfClasses == 0) return complaint("numberOfClasses", 0, "it must be at least 1");
  if (!(d.epsilon >= 0)) return complaint("epsilon", d.epsilon, "it must be at least 0");
  if (!(d.delta >= 0)) return complaint("delta", d.delta, "it must be at least 0");
  return {};
}

void checkLoss(std::string_view className, const CNNLossDescriptor& descriptor) {
  std::string complaint = lossComplaint(fmt::format("a {}", className), descriptor);
  if (!complaint.empty()) throw Error(ErrorCode::invalidArgument, std::move(complaint));
}

operations::LossSettings settingsOf(const CNNLossDescriptor& d) {
  return {.type = d.lossType,
          .reduction = d.reductionType,
          .reduceAcrossBatch = d.reduceAcrossBatch,
          .weight = d.weight,
          .labelSmoothing = d.labelSmoothing,
          .numberOfClasses = d.numberOfClasses,
          .epsilon = d.epsilon,
          .delta = d.delta};
}

void visit(SettingsVisitor& visitor, std::string_view className, CNNLossDescriptor& d) {
  visitor.visit("lossType", d.lossType);
  visitor.visit("reductionType", d.reductionType);
  visitor.visit("reduceAcrossBatch", d.reduceAcrossBatch);
  visitor.visit("weight", d.weight);
  visitor.visit("labelSmoothing", d.labelSmoothing);
  visitor.visit("numberOfClasses", d.numberOfClasses);
  visitor.visit("epsilon", d.epsilon);
  visitor.visit("delta", d.delta);
  const std::string complaint = lossComplaint("the kernel", d);
  if (!complaint.empty()) refuseSetting(className, "lossDescriptor", complaint);
}

}  // namespace metalloid::detail
