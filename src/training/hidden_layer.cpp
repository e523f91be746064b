#include "training/hidden_layer.hpp"

#include "training/array_parts.hpp"

namespace metalloid::training {
namespace {

/// Sets the neuron of a forward or gradient kernel.
template <class Kernel>
void setNeuron(Kernel& kernel, const NeuronOptions& neuron, std::size_t units) {
  if constexpr (requires { kernel.setNeuronToPReLU({}); }) {
    if (neuron.type == CNNNeuronType::pReLU) {
      kernel.setNeuronToPReLU(std::vector<float>(units, neuron.a));
      return;
    }
  }
  kernel.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
}

Matrix labelled(const Matrix& matrix, std::string label) {
  matrix.setLabel(std::move(label));
  return matrix;
}

}  // namespace

std::vector<ParameterArena::Request> HiddenLayer::parameters(const std::string& name, std::size_t inputs,
                                                             std::size_t units, const NetworkOptions& options) {
  std::vector<ParameterArena::Request> requests{{.name = name + ".weight", .rows = inputs, .columns = units}};
  if (options.batchNormalization) {
    requests.push_back({.name = name + ".gamma", .columns = units});
    requests.push_back({.name = name + ".beta", .columns = units});
  } else {
    requests.push_back({.name = name + ".bias", .columns = units});
  }
  return requests;
}

HiddenLayer::HiddenLayer(const Device& device, const NetworkOptions& options, const Place& place,
                         const ParameterArena& arena)
    : options_(options),
      place_(place),
      weights_(arena.valueMatrix(place.firstParameter)),
      weightGradient_(arena.gradientMatrix(place.firstParameter)),
      multiply_(device),
      multiplyGradient_(device),
      normalize_(device),
      normalizeGradient_(device),
      neuron_(device),
      neuronGradient_(device) {
  const auto rowsOf = [&](const char* what) {
    return labelled(Matrix(device, {.rows = place.maximumRows, .columns = place.units}), place.name + "." + what);
  };
  product_ = rowsOf("product");
  output_ = rowsOf("output");
  gradient_ = rowsOf("gradient");
  for (Kernel* kernel : {static_cast<Kernel*>(&multiply_), static_cast<Kernel*>(&multiplyGradient_),
                         static_cast<Kernel*>(&normalize_), static_cast<Kernel*>(&normalizeGradient_),
                         static_cast<Kernel*>(&neuron_), static_cast<Kernel*>(&neuronGradient_)}) {
    kernel->label = place.name;
  }
  if (options.batchNormalization) {
    gamma_ = arena.valueVector(place.firstParameter + 1);
    gammaGradient_ = arena.gradientVector(place.firstParameter + 1);
    bias_ = arena.valueVector(place.firstParameter + 2);
    biasGradient_ = arena.gradientVector(place.firstParameter + 2);
    normalize_.epsilon = options.batchNormalizationEpsilon;
    normalizeGradient_.epsilon = options.batchNormalizationEpsilon;
  } else {
    bias_ = arena.valueVector(place.firstParameter + 1);
    biasGradient_ = arena.gradientVector(place.firstParameter + 1);
  }
  if (separateNeuron()) {
    setNeuron(neuron_, options.neuron, place.units);
    setNeuron(neuronGradient_, options.neuron, place.units);
    if (options.batchNormalization) normalized_ = rowsOf("normalized");
  } else {
    setNeuron(normalize_, options.neuron, place.units);
    setNeuron(normalizeGradient_, options.neuron, place.units);
  }
}

void HiddenLayer::setStatistics(const ChannelStatistics& batch, const ChannelStatistics& running) {
  batch_ = batch;
  running_ = running;
}

Matrix HiddenLayer::encodeForward(CommandBuffer& commandBuffer, const Matrix& input, bool training) const {
  const Matrix product = firstRows(product_, input.rows());
  const Matrix output = firstRows(output_, input.rows());
  multiply_.encode(commandBuffer, {.inputMatrix = input, .weightMatrix = weights_, .resultMatrix = product});
  if (!options_.batchNormalization) {
    neuron_.encode(commandBuffer, {.inputMatrix = product, .biasVector = bias_, .resultMatrix = output});
    return output;
  }
  const ChannelStatistics& statistics = training ? batch_ : running_;
  const Matrix normalized = separateNeuron() ? firstRows(normalized_, input.rows()) : output;
  MatrixBatchNormalization normalize = normalize_;
  normalize.computeStatistics = training;
  normalize.encode(commandBuffer, {.inputMatrix = product,
                                   .meanVector = statistics.mean,
                                   .varianceVector = statistics.variance,
                                   .gammaVector = gamma_,
                                   .betaVector = bias_,
                                   .resultMatrix = normalized});
  if (separateNeuron()) neuron_.encode(commandBuffer, {.inputMatrix = normalized, .resultMatrix = output});
  return output;
}

void HiddenLayer::encodeGradient(CommandBuffer& commandBuffer, const Matrix& gradient, const Matrix& input,
                                 const Matrix& inputGradient) const {
  const Matrix product = firstRows(product_, input.rows());
  if (options_.batchNormalization) {
    if (separateNeuron()) {
      neuronGradient_.encode(commandBuffer, {.gradientMatrix = gradient,
                                             .inputMatrix = firstRows(normalized_, input.rows()),
                                             .resultGradientForDataMatrix = gradient});
    }
    normalizeGradient_.encode(commandBuffer, {.gradientMatrix = gradient,
                                              .inputMatrix = product,
                                              .meanVector = batch_.mean,
                                              .varianceVector = batch_.variance,
                                              .gammaVector = gamma_,
                                              .betaVector = bias_,
                                              .resultGradientForDataMatrix = gradient,
                                              .resultGradientForGammaVector = gammaGradient_,
                                              .resultGradientForBetaVector = biasGradient_});
  } else {
    neuronGradient_.encode(commandBuffer, {.gradientMatrix = gradient,
                                           .inputMatrix = product,
                                           .biasVector = bias_,
                                           .resultGradientForDataMatrix = gradient,
                                           .resultGradientForBiasVector = biasGradient_});
  }
  multiplyGradient_.encodeForWeightsAndBias(
      commandBuffer,
      {.gradientMatrix = gradient, .inputMatrix = input, .resultGradientForWeightMatrix = weightGradient_});
  if (inputGradient) {
    multiplyGradient_.encodeForData(
        commandBuffer,
        {.gradientMatrix = gradient, .weightMatrix = weights_, .resultGradientForDataMatrix = inputGradient});
  }
}

Matrix HiddenLayer::gradient(std::size_t rows) const { return firstRows(gradient_, rows); }

void HiddenLayer::initialize() const {
  if (gamma_) gamma_.write(std::vector<float>(place_.units, 1.0f));
}

std::vector<std::pair<std::string, Matrix>> HiddenLayer::activations() const {
  std::vector<std::pair<std::string, Matrix>> matrices{{"the product of layer " + place_.name, product_}};
  if (normalized_) matrices.emplace_back("the normalized product of layer " + place_.name, normalized_);
  matrices.emplace_back("the output of layer " + place_.name, output_);
  return matrices;
}

}  // namespace metalloid::training
