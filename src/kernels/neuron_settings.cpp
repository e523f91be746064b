#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "math/neuron.hpp"

#include <metalloid/detail/neuron_settings.hpp>
#include <metalloid/error.hpp>

#include <cmath>

namespace metalloid::detail {
namespace {

void checkSlopes(std::span<const float> slopes) {
  if (slopes.empty()) throw Error(ErrorCode::invalidArgument, "The parametersA of a PReLU neuron are empty.");
  for (std::size_t j = 0; j < slopes.size(); ++j) {
    if (std::isnan(slopes[j])) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("The slope {} of {} of a PReLU neuron is NaN.", j, slopes.size()));
    }
  }
}

}  // namespace

void NeuronSettings::set(CNNNeuronType type) {
  const math::NeuronParameters parameters = math::defaultParameters(type);
  set(type, parameters.a, parameters.b, parameters.c);
}

void NeuronSettings::set(CNNNeuronType type, float a, float b, float c) {
  math::checkNeuronParameters(type, a, b, c);
  type_ = type;
  a_ = a;
  b_ = b;
  c_ = c;
  slopes_.clear();
  slopesOnDevice_ = {};
}

void NeuronSettings::setPReLU(const Device& device, std::span<const float> slopes) {
  checkSlopes(slopes);
  slopes_.assign(slopes.begin(), slopes.end());
  moveTo(device);
  type_ = CNNNeuronType::pReLU;
  a_ = b_ = c_ = 0;
}

math::Neuron NeuronSettings::function() const { return math::makeNeuron(type_, a_, b_, c_); }

void NeuronSettings::moveTo(const Device& device) {
  if (!slopes_.empty()) slopesOnDevice_ = device.makeBuffer(slopes_.data(), slopes_.size() * sizeof(float));
}

void NeuronSettings::visit(SettingsVisitor& visitor, const Device& device) {
  NeuronSettings seen = *this;
  visitor.visit("neuronType", seen.type_);
  visitor.visit("neuronParameterA", seen.a_);
  visitor.visit("neuronParameterB", seen.b_);
  visitor.visit("neuronParameterC", seen.c_);
  visitor.visit("parametersA", seen.slopes_);
  const bool changed =
      seen.type_ != type_ || seen.a_ != a_ || seen.b_ != b_ || seen.c_ != c_ || seen.slopes_ != slopes_;
  if (!changed) return;  // every visitor but the one that reads an archive
  try {
    if (seen.type_ == CNNNeuronType::pReLU && device) {
      setPReLU(device, seen.slopes_);
    } else {
      set(seen.type_, seen.a_, seen.b_, seen.c_);
    }
  } catch (const Error& error) {
    refuseSetting("kernel", "neuron", error.message());
  }
}

}  // namespace metalloid::detail
