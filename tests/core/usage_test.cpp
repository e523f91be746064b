// The library used as its documentation shows it.

#include <metalloid/metalloid.hpp>

#include "support/devices.hpp"

#include <cstddef>
#include <functional>
#include <sstream>
#include <vector>

#include <gtest/gtest.h>

namespace mps = metalloid;

namespace {

TEST(UsageTest, AGradientStep) {
  const std::vector<float> pixels(128 * 784, 0.5f);

  mps::Device device = mps::Device::systemDefault();
  mps::CommandQueue queue = device.makeCommandQueue();

  mps::Matrix x(device, {.rows = 128, .columns = 784});  // float32 unless said; rowBytes chosen
  x.write(pixels);                                       // host values in, packed row-major

  mps::Matrix dy(device, {.rows = 128, .columns = 10}), w(device, {.rows = 784, .columns = 10});
  mps::Matrix dx(device, {.rows = 128, .columns = 784}), dw(device, {.rows = 784, .columns = 10});
  mps::Vector db(device, {.length = 10});
  dy.write(std::vector<float>(128 * 10, 0.25f));
  w.write(std::vector<double>(784 * 10, 2));

  mps::MatrixFullyConnectedGradient gradient(device);
  gradient.label = "fc1";

  mps::CommandBuffer commands = queue.makeCommandBuffer();
  gradient.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
  gradient.encodeForWeightsAndBias(
      commands,
      {.gradientMatrix = dy, .inputMatrix = x, .resultGradientForWeightMatrix = dw, .resultGradientForBiasVector = db});
  commands.commit();
  commands.waitUntilCompleted();

  std::vector<float> host = dw.read<float>();  // values out, packed row-major
  EXPECT_EQ(host, std::vector<float>(784 * 10, 16));
  EXPECT_EQ(dx.read<float>(), std::vector<float>(128 * 784, 5));
  EXPECT_EQ(db.read<float>(), std::vector<float>(10, 32));
}

TEST(UsageTest, AnArchive) {
  const mps::Device device = mps::Device::named("cpu");
  mps::MatrixNeuronGradient kernel(device);
  kernel.label = "relu1";
  kernel.setNeuronType(mps::CNNNeuronType::reLU, 0.1f);

  mps::Archiver archiver;
  kernel.encode(archiver);  // everything configurable, label included
  std::vector<std::byte> bytes = archiver.finish();
  mps::Unarchiver unarchiver(bytes);
  mps::MatrixNeuronGradient again(unarchiver, device);
  EXPECT_TRUE(again == kernel);
  EXPECT_EQ(std::hash<mps::MatrixNeuronGradient>()(again), kernel.hash());
  std::ostringstream text;
  text << again;
  EXPECT_EQ(text.str(), kernel.description());

  bytes.pop_back();
  try {
    mps::Unarchiver truncated(bytes);
    FAIL() << "A truncated archive was accepted.";
  } catch (const mps::Error& error) {
    EXPECT_EQ(error.code(), mps::ErrorCode::malformedFile);
  }
}

// A layer with everything around it, and every label of its kernels' calls spelled out.
TEST(UsageTest, ALayerForwardAndBackward) {
  for (const mps::Device& device : mps::testing::computingDevices()) {
    SCOPED_TRACE(device.name());
    const mps::MatrixDescriptor batch{.rows = 2, .columns = 2};
    const mps::Matrix x(device, batch), w(device, batch), y(device, batch), dy(device, batch), dw(device, batch);
    const mps::Vector b(device, {.length = 2}), mean(device, {.length = 2}), variance(device, {.length = 2});
    const mps::Vector gamma(device, {.length = 2}), beta(device, {.length = 2});
    const mps::Vector dGamma(device, {.length = 2}), dBeta(device, {.length = 2}), db(device, {.length = 2});
    x.write(std::vector<float>{1, 0, 0, 1});
    w.write(std::vector<float>{1, 5, 3, -7});
    gamma.write(std::vector<float>{1, 1});
    beta.write(std::vector<float>{2, 0});
    dy.write(std::vector<float>{1, 1, 1, 0});

    mps::MatrixFullyConnected fullyConnected(device);
    mps::MatrixBatchNormalization normalization(device);
    mps::MatrixNeuron neuron(device);
    normalization.computeStatistics = true;
    neuron.setNeuronType(mps::CNNNeuronType::reLU);

    mps::CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    mps::TemporaryMatrix product(commands, batch), normal(commands, batch), dNormal(commands, batch);
    mps::TemporaryMatrix dProduct(commands, batch);
    product.setReadCount(2);
    normal.setReadCount(2);
    fullyConnected.encode(commands, {.inputMatrix = x, .weightMatrix = w, .biasVector = b, .resultMatrix = product});
    normalization.encode(commands, {.inputMatrix = product,
                                    .meanVector = mean,
                                    .varianceVector = variance,
                                    .gammaVector = gamma,
                                    .betaVector = beta,
                                    .resultMatrix = normal});
    neuron.encode(commands, {.inputMatrix = normal, .biasVector = {}, .resultMatrix = y});

    mps::MatrixNeuronGradient neuronGradient(device);
    mps::MatrixBatchNormalizationGradient normalizationGradient(device);
    mps::MatrixFullyConnectedGradient fullyConnectedGradient(device);
    neuronGradient.setNeuronType(mps::CNNNeuronType::reLU);
    neuronGradient.encode(commands, {.gradientMatrix = dy,
                                     .inputMatrix = normal,
                                     .biasVector = {},
                                     .resultGradientForDataMatrix = dNormal,
                                     .resultGradientForBiasVector = {}});
    normalizationGradient.encode(commands, {.gradientMatrix = dNormal,
                                            .inputMatrix = product,
                                            .meanVector = mean,
                                            .varianceVector = variance,
                                            .gammaVector = gamma,
                                            .betaVector = beta,
                                            .resultGradientForDataMatrix = dProduct,
                                            .resultGradientForGammaVector = dGamma,
                                            .resultGradientForBetaVector = dBeta});
    fullyConnectedGradient.encodeForWeightsAndBias(commands, {.gradientMatrix = dProduct,
                                                              .inputMatrix = x,
                                                              .resultGradientForWeightMatrix = dw,
                                                              .resultGradientForBiasVector = db});
    commands.commit();
    commands.waitUntilCompleted();

    EXPECT_EQ(mean.read<float>(), (std::vector<float>{2, -1}));
    EXPECT_EQ(variance.read<float>(), (std::vector<float>{1, 36}));
    EXPECT_EQ(y.read<float>(), (std::vector<float>{1, 1, 3, 0}));
    EXPECT_EQ(dBeta.read<float>(), (std::vector<float>{2, 1}));
    EXPECT_EQ(dGamma.read<float>(), (std::vector<float>{0, 1}));
    // Two rows: whatever the gradient, normalization leaves nothing of it.
    EXPECT_EQ(dw.read<float>(), std::vector<float>(4, 0));
    EXPECT_EQ(db.read<float>(), std::vector<float>(2, 0));
  }
}

}  // namespace
