#include "training/model.hpp"

#include "core/format.hpp"
#include "training/graph_model.hpp"
#include "training/matrix_model.hpp"

#include <metalloid/error.hpp>

#include <algorithm>

#include <fmt/ranges.h>

namespace metalloid::training {

std::unique_ptr<Model> makeModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows) {
  if (options.network.isLayered()) return std::make_unique<GraphModel>(device, options, maximumRows);
  return std::make_unique<MatrixModel>(device, options, maximumRows);
}

std::unique_ptr<Model> makeModel(const Device& device, const NetworkOptions& network, std::size_t maximumRows) {
  TrainingOptions options;
  options.network = network;
  return makeModel(device, options, maximumRows);
}

const NamedTensor& tensorOf(const Checkpoint& checkpoint, const std::string& name, std::size_t elements) {
  const NamedTensor* const tensor = checkpoint.find(name);
  if (!tensor || tensor->values.size() != elements) {
    throw Error(ErrorCode::malformedFile,
                fmt::format("The checkpoint of step {} has {} values of \"{}\", but the run's options call for {}.",
                            checkpoint.step, tensor ? tensor->values.size() : 0, name, elements));
  }
  return *tensor;
}

const NamedTensor& tensorOf(const std::vector<NamedTensor>& tensors, const std::string& name,
                            const std::vector<std::size_t>& shape) {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  if (found == tensors.end()) {
    throw Error(ErrorCode::malformedFile, fmt::format("The weights have no tensor \"{}\".", name));
  }
  if (found->shape != shape) {
    throw Error(ErrorCode::malformedFile, fmt::format("Tensor \"{}\" of the weights is {}, but the network's is {}.",
                                                      name, fmt::join(found->shape, " x "), fmt::join(shape, " x ")));
  }
  return *found;
}

void requireTensors(const std::vector<NamedTensor>& tensors, std::size_t number) {
  if (tensors.size() == number) return;
  throw Error(ErrorCode::malformedFile,
              fmt::format("The weights have {} tensors, but the network has {}.", tensors.size(), number));
}

}  // namespace metalloid::training
