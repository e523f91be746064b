// Trains a network with one hidden layer to tell two interleaved spirals apart, with the public interface only.

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

namespace mps = metalloid;

int main() {
  constexpr std::size_t n = 400, units = 64, classes = 2;
  std::vector<float> points;
  std::vector<std::uint32_t> spirals;
  for (std::uint32_t i = 0; i < n; ++i) {
    const float radius = 2.0f * static_cast<float>(i) / n, angle = 4 * radius + (i % 2 == 0 ? 0.0f : 3.1416f);
    points.insert(points.end(), {radius * std::cos(angle), radius * std::sin(angle)});
    spirals.push_back(i % 2);
  }

  // README begins here.
  mps::Device device = mps::Device::systemDefault();
  mps::CommandQueue queue = device.makeCommandQueue();
  mps::Matrix x(device, {n, 2}), z(device, {n, units}), h(device, {n, units}), y(device, {n, classes});
  mps::Matrix dy(device, {n, classes}), dh(device, {n, units}), w1(device, {2, units}), w2(device, {units, classes});
  mps::Matrix dw1(device, {2, units}), dw2(device, {units, classes});
  mps::Vector labels(device, {.length = n, .dataType = mps::DataType::uInt32}), losses(device, {.length = n});
  x.write(points);
  labels.write(spirals);

  auto normal = mps::MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0, 2);
  mps::MatrixRandomPhilox random(device,
                                 {.destinationDataType = mps::DataType::float32, .distributionDescriptor = normal});
  mps::MatrixFullyConnected layer(device);
  mps::MatrixFullyConnectedGradient layerGradient(device);
  mps::MatrixNeuron neuron(device);
  neuron.setNeuronType(mps::CNNNeuronType::tanH);
  mps::MatrixNeuronGradient neuronGradient(device);
  neuronGradient.setNeuronType(mps::CNNNeuronType::tanH);
  mps::MatrixSoftMaxCrossEntropy loss(device);
  mps::NNOptimizerStochasticGradientDescent optimizer(device, 0.5f / n);

  for (int step = 0; step <= 1000; ++step) {
    mps::CommandBuffer commands = queue.makeCommandBuffer();
    if (step == 0) random.encode(commands, {.destinationMatrix = w1});
    layer.encode(commands, {.inputMatrix = x, .weightMatrix = w1, .resultMatrix = z});
    neuron.encode(commands, {.inputMatrix = z, .resultMatrix = h});
    layer.encode(commands, {.inputMatrix = h, .weightMatrix = w2, .resultMatrix = y});
    loss.encode(commands,
                {.sourceMatrix = y, .labelVector = labels, .resultLossVector = losses, .resultGradientMatrix = dy});
    layerGradient.encodeForWeightsAndBias(
        commands, {.gradientMatrix = dy, .inputMatrix = h, .resultGradientForWeightMatrix = dw2});
    layerGradient.encodeForData(commands,
                                {.gradientMatrix = dy, .weightMatrix = w2, .resultGradientForDataMatrix = dh});
    neuronGradient.encode(commands, {.gradientMatrix = dh, .inputMatrix = z, .resultGradientForDataMatrix = dh});
    layerGradient.encodeForWeightsAndBias(
        commands, {.gradientMatrix = dh, .inputMatrix = x, .resultGradientForWeightMatrix = dw1});
    optimizer.encode(commands, {.inputGradientMatrix = dw1, .inputValuesMatrix = w1, .resultValuesMatrix = w1});
    optimizer.encode(commands, {.inputGradientMatrix = dw2, .inputValuesMatrix = w2, .resultValuesMatrix = w2});
    commands.commit();
  }
  // README ends here.

  const std::vector<float> values = losses.read<float>();
  const float mean = std::accumulate(values.begin(), values.end(), 0.0f) / n;
  std::printf("mean loss after 1000 steps: %.4f (chance: %.4f)\n", mean, std::log(2.0));
  return mean < 0.1f ? 0 : 1;
}
