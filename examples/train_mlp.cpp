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

  const mps::Device device = mps::Device::systemDefault();
  const mps::CommandQueue queue = device.makeCommandQueue();
  const mps::Matrix x(device, {n, 2}), z(device, {n, units}), h(device, {n, units}), dh(device, {n, units});
  const mps::Matrix y(device, {n, classes}), dy(device, {n, classes}), w1(device, {2, units}), dw1(device, {2, units});
  const mps::Matrix w2(device, {units, classes}), dw2(device, {units, classes});
  const mps::Vector losses(device, {n}), labels(device, {.length = n, .dataType = mps::DataType::uInt32});
  x.write(points);
  labels.write(spirals);
  const auto normal = mps::MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0, 2);
  mps::MatrixRandomPhilox random(device,
                                 {.destinationDataType = mps::DataType::float32, .distributionDescriptor = normal});
  const mps::MatrixFullyConnected multiply(device);
  const mps::MatrixFullyConnectedGradient multiplyGradient(device);
  mps::MatrixNeuron neuron(device);
  mps::MatrixNeuronGradient neuronGradient(device);
  const mps::MatrixSoftMaxCrossEntropy loss(device);
  const mps::NNOptimizerStochasticGradientDescent optimizer(device, 0.5f / n);
  neuron.setNeuronType(mps::CNNNeuronType::tanH);
  neuronGradient.setNeuronType(mps::CNNNeuronType::tanH);

  for (int step = 0; step <= 1000; ++step) {
    mps::CommandBuffer commands = queue.makeCommandBuffer();
    if (step == 0) random.encode(commands, {.destinationMatrix = w1});
    multiply.encode(commands, {.inputMatrix = x, .weightMatrix = w1, .resultMatrix = z});
    neuron.encode(commands, {.inputMatrix = z, .resultMatrix = h});
    multiply.encode(commands, {.inputMatrix = h, .weightMatrix = w2, .resultMatrix = y});
    loss.encode(commands,
                {.sourceMatrix = y, .labelVector = labels, .resultLossVector = losses, .resultGradientMatrix = dy});
    multiplyGradient.encodeForWeightsAndBias(commands, {dy, h, dw2});
    multiplyGradient.encodeForData(commands, {dy, w2, dh});
    neuronGradient.encode(commands, {.gradientMatrix = dh, .inputMatrix = z, .resultGradientForDataMatrix = dh});
    multiplyGradient.encodeForWeightsAndBias(commands, {dh, x, dw1});
    optimizer.encode(commands, {.inputGradientMatrix = dw1, .inputValuesMatrix = w1, .resultValuesMatrix = w1});
    optimizer.encode(commands, {.inputGradientMatrix = dw2, .inputValuesMatrix = w2, .resultValuesMatrix = w2});
    commands.commit();
    if (step % 200 == 0) {
      const std::vector<float> values = losses.read<float>();
      std::printf("step %4d  mean loss %.4f\n", step, std::accumulate(values.begin(), values.end(), 0.0f) / n);
    }
  }
}
