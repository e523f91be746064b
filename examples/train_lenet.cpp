// Trains the convolutional network of Apple's training sample on Fashion-MNIST, described as a graph, with the public
// interface only. Its data source holds the parameters of a layer and has Adam update them on the device.

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <zlib.h>

namespace mps = metalloid;

namespace {

class Weights final : public mps::CNNConvolutionDataSource {
 public:
  Weights(const mps::Device& device, std::string name, mps::CNNConvolutionDescriptor shape)
      : device_(device), name_(std::move(name)), shape_(shape), adam_(device, /*learningRate=*/0.001f) {
    const std::size_t inputs = shape.kernelWidth * shape.kernelHeight * shape.inputFeatureChannels;
    weights_.resize(shape.outputFeatureChannels * inputs);
    biases_.resize(shape.outputFeatureChannels);
    const float bound = std::sqrt(6.0f / static_cast<float>(inputs));  // of He's uniform distribution
    mps::Vector drawn(device, {.length = weights_.size()});
    mps::CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    mps::MatrixRandomPhilox(device,
                            {.destinationDataType = mps::DataType::float32,
                             .seed = weights_.size(),
                             .distributionDescriptor =
                                 mps::MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(-bound, bound)})
        .encode(commands, {.destinationVector = drawn});
    commands.commit();
    weights_ = drawn.read<float>();
    for (auto* moments : {&momentum_, &velocity_})
      for (const std::size_t length : {weights_.size(), biases_.size()}) {
        moments->emplace_back(device, mps::VectorDescriptor{.length = length});
        moments->back().write(std::vector<float>(length));
      }
  }

  mps::DataType dataType() const override { return mps::DataType::float32; }
  mps::CNNConvolutionDescriptor descriptor() const override { return shape_; }
  std::span<const std::byte> weights() override { return std::as_bytes(std::span(weights_)); }
  std::span<const float> biasTerms() override { return biases_; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() const override { return name_; }
  using CNNConvolutionDataSource::update;
  mps::CNNConvolutionWeightsAndBiasesState update(mps::CommandBuffer& commands,
                                                  const mps::CNNConvolutionGradientState& gradient,
                                                  const mps::CNNConvolutionWeightsAndBiasesState& source) override {
    adam_.encode(commands, {.convolutionGradientState = gradient,
                            .convolutionSourceState = source,
                            .inputMomentumVectors = momentum_,
                            .inputVelocityVectors = velocity_,
                            .resultState = source});
    return source;
  }

 private:
  mps::Device device_;
  std::string name_;
  mps::CNNConvolutionDescriptor shape_;
  std::vector<float> weights_, biases_;
  mps::NNOptimizerAdam adam_;
  std::vector<mps::Vector> momentum_, velocity_;
};

/// The bytes behind the header of a file of the data set.
std::vector<std::uint8_t> readFile(const std::string& name, int headerBytes, std::size_t count) {
  const std::string path = "/usr/share/datasets/fashion-mnist/" + name;  // of Debian's package dataset-fashion-mnist
  std::vector<std::uint8_t> bytes(count);
  const gzFile file = gzopen(path.c_str(), "rb");
  const bool isRead = file && gzseek(file, headerBytes, SEEK_SET) == headerBytes &&
                      gzread(file, bytes.data(), static_cast<unsigned>(count)) == static_cast<int>(count);
  if (file) gzclose(file);
  if (!isRead) throw std::runtime_error("cannot read " + path);
  return bytes;
}

}  // namespace

/// The argument is the number of steps; 4680, the default, are ten epochs.
int main(int argumentCount, char** arguments) try {
  constexpr std::size_t samples = 60000, pixels = 28 * 28, classes = 10, batch = 128;
  const std::size_t steps = argumentCount > 1 ? std::strtoul(arguments[1], nullptr, 10) : 4680;
  const std::vector<std::uint8_t> images = readFile("train-images-idx3-ubyte.gz", 16, samples * pixels);
  const std::vector<std::uint8_t> labels = readFile("train-labels-idx1-ubyte.gz", 8, samples);

  mps::Device device = mps::Device::systemDefault();
  mps::CommandQueue queue = device.makeCommandQueue();
  const auto weights = [&](const char* name, std::size_t kernel, std::size_t inputs, std::size_t outputs) {
    return std::make_shared<Weights>(device, name,
                                     mps::CNNConvolutionDescriptor{.kernelWidth = kernel,
                                                                   .kernelHeight = kernel,
                                                                   .inputFeatureChannels = inputs,
                                                                   .outputFeatureChannels = outputs});
  };
  mps::NNImageNode input({.label = "images"});
  mps::CNNConvolutionNode conv1({.source = input, .weights = weights("conv1", 5, 1, 32)});
  mps::CNNNeuronReLUNode relu1({.source = conv1.resultImage()});
  mps::CNNPoolingMaxNode pool1({.source = relu1.resultImage(), .filterSize = 2});
  mps::CNNConvolutionNode conv2({.source = pool1.resultImage(), .weights = weights("conv2", 5, 32, 64)});
  mps::CNNNeuronReLUNode relu2({.source = conv2.resultImage()});
  mps::CNNPoolingMaxNode pool2({.source = relu2.resultImage(), .filterSize = 2});
  mps::CNNFullyConnectedNode dense1({.source = pool2.resultImage(), .weights = weights("dense1", 7, 64, 1024)});
  mps::CNNNeuronReLUNode relu3({.source = dense1.resultImage()});
  mps::CNNDropoutNode dropout({.source = relu3.resultImage()});
  mps::CNNFullyConnectedNode dense2({.source = dropout.resultImage(), .weights = weights("dense2", 1, 1024, classes)});
  mps::CNNLossNode loss({.source = dense2.resultImage(),
                         .lossDescriptor = {.lossType = mps::CNNLossType::softMaxCrossEntropy,
                                            .reductionType = mps::CNNReductionType::sum,
                                            .weight = 1.0f / batch}});
  mps::NNGraph graph(device,
                     {.resultImages = {loss.trainingGraph({}).front().resultImage()}, .resultsAreNeeded = {false}});
  graph.format = mps::ImageFeatureChannelFormat::float32;

  double mean = 0, first = 0;
  for (std::size_t step = 0, next = 0; step < steps; ++step, next = (next + batch) % (samples - batch)) {
    mps::ImageBatch pictures;
    mps::CNNLossLabelsBatch targets;
    for (std::size_t i = next; i < next + batch; ++i) {
      pictures.emplace_back(device, mps::ImageDescriptor{.channelFormat = mps::ImageFeatureChannelFormat::unorm8,
                                                         .width = 28,
                                                         .height = 28,
                                                         .featureChannels = 1});
      pictures.back().writeBytes(std::as_bytes(std::span(images).subspan(i * pixels, pixels)),
                                 mps::DataLayout::HeightxWidthxFeatureChannels, /*imageIndex=*/0);
      std::vector<float> oneHot(classes);
      oneHot[labels[i]] = 1;
      targets.emplace_back(device, mps::CNNLossDataDescriptor{.data = oneHot, .size = {1, 1, classes}});
    }
    mps::CommandBuffer commands = queue.makeCommandBuffer();
    graph.encodeBatch(commands, {.sourceImages = {pictures}, .sourceStates = {targets}});
    commands.commit();
    mean = 0;
    for (const mps::CNNLossLabels& target : targets) mean += target.lossImage().read<float>().front();
    if (step == 0) first = mean;
    if (step % 20 == 0 || step + 1 == steps) std::printf("step %zu: mean loss %.4f\n", step, mean);
  }
  return mean < first ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
