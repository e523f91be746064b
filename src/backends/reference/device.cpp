#include "backends/devices.hpp"
#include "backends/reference/kernels.hpp"
#include "core/host_device.hpp"
#include "operations/describe.hpp"

#include <variant>

namespace metalloid::reference {
namespace {

class ReferenceDevice final : public detail::HostDevice {
 public:
  ReferenceDevice() : HostDevice("reference") {}

  std::string description() const override { return "plain loops, double accumulators, 1 thread"; }
  void execute(const operations::Operation& operation) override {
    std::visit([](const auto& o) { run(o); }, operation);
  }
  void explain(const operations::Operation& operation, Explanation& explanation) const override {
    explanation.shape = operations::describe(operation);
    explanation.implementation = "reference";
  }
};

}  // namespace

detail::Ref<detail::DeviceImplementation> makeDevice() { return detail::makeRef<ReferenceDevice>(); }

}  // namespace metalloid::reference
