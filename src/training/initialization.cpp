#include "training/initialization.hpp"

#include <metalloid/matrix_random.hpp>

#include <cmath>

namespace metalloid::training {

double varianceKept(CNNNeuronType type) {
  switch (type) {
    case CNNNeuronType::reLU:
    case CNNNeuronType::pReLU:
    case CNNNeuronType::reLUN:
    case CNNNeuronType::ELU:
    case CNNNeuronType::geLU:
    case CNNNeuronType::softPlus:
      return 0.5;
    default:
      return 1;
  }
}

void encodeNormal(CommandBuffer& commandBuffer, const Device& device, std::uint64_t key, double variance,
                  const Matrix& weights) {
  MatrixRandomPhilox random(device,
                            {.destinationDataType = DataType::float32,
                             .seed = key,
                             .distributionDescriptor = MatrixRandomDistributionDescriptor::normalDistributionDescriptor(
                                 0, static_cast<float>(std::sqrt(variance)))});
  random.label = weights.label();
  random.encode(commandBuffer, {.destinationMatrix = weights});
}

}  // namespace metalloid::training
