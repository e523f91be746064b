#include "training/parameter_arena.hpp"

#include <metalloid/data_type.hpp>

namespace metalloid::training {
namespace {

constexpr std::size_t kElementBytes = sizeOfDataType(DataType::float32);
constexpr std::size_t kAlignment = 16;  // elements: one cache line

std::size_t aligned(std::size_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterArena::ParameterArena(const Device& device, const std::vector<Request>& requests) {
  for (const auto& request : requests) {
    const bool isVector = request.rows == 0;
    parameters_.push_back(
        {.name = request.name, .rows = isVector ? 1 : request.rows, .columns = request.columns, .isVector = isVector});
  }
  for (const bool vectors : {false, true}) {
    for (auto& parameter : parameters_) {
      if (parameter.isVector != vectors) continue;
      parameter.offset = elements_;
      elements_ += aligned(parameter.elements());
    }
    if (!vectors) weightElements_ = elements_;
  }
  values_ = Vector(device, {.length = elements_});
  values_.setLabel("parameters");
  gradients_ = Vector(device, {.length = elements_});
  gradients_.setLabel("gradients");
}

std::size_t ParameterArena::trainedElements() const {
  std::size_t sum = 0;
  for (const auto& parameter : parameters_) sum += parameter.elements();
  return sum;
}

Matrix ParameterArena::matrix(const Vector& storage, std::size_t index, const char* role) const {
  const auto& parameter = parameters_[index];
  const Matrix result(
      storage.data(), parameter.offset * kElementBytes,
      {.rows = parameter.rows, .columns = parameter.columns, .rowBytes = parameter.columns * kElementBytes});
  result.setLabel(role + parameter.name);
  return result;
}

Vector ParameterArena::vector(const Vector& storage, std::size_t index, const char* role) const {
  const auto& parameter = parameters_[index];
  const Vector result(storage.data(), parameter.offset * kElementBytes, {.length = parameter.columns});
  result.setLabel(role + parameter.name);
  return result;
}

ParameterArena::Group ParameterArena::group(std::size_t begin, std::size_t end) const {
  if (begin == end) return {};
  const auto part = [&](const Vector& storage) {
    const Vector result(storage.data(), begin * kElementBytes, {.length = end - begin});
    result.setLabel(storage.label());
    return result;
  };
  return {.values = part(values_), .gradients = part(gradients_)};
}

}  // namespace metalloid::training
