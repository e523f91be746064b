#include "backends/devices.hpp"
#include "core/host_device.hpp"
#include "operations/describe.hpp"

#include <memory>

namespace metalloid::null {
namespace {

/// Computes nothing, so that everything the front end checks can be tested without arithmetic.
class NullDevice final : public detail::HostDevice {
 public:
  NullDevice() : HostDevice("null") {}

  std::string description() const override { return "computes nothing; for checks without arithmetic"; }
  void execute(const operations::Operation&) override {}
  void explain(const operations::Operation& operation, Explanation& explanation) const override {
    explanation.shape = operations::describe(operation);
    explanation.implementation = "nothing";
  }
};

}  // namespace

detail::Ref<detail::DeviceImplementation> makeDevice() { return detail::makeRef<NullDevice>(); }

}  // namespace metalloid::null
