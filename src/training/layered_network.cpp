#include "training/layered_network.hpp"

#include "core/format.hpp"
#include "math/neuron.hpp"
#include "training/network_text.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

namespace metalloid::training {
namespace {

// Beyond these a number is a slip of the keyboard; and no product of them wraps.
constexpr std::size_t kMaximumSize = 1 << 16;                     // of one axis
constexpr std::size_t kMaximumUnits = 1 << 20;                    // of a dense layer
constexpr std::size_t kMaximumElements = std::size_t{1} << 32;    // of an image
constexpr std::size_t kMaximumParameters = std::size_t{1} << 34;  // of a layer
constexpr std::size_t kMaximumLayers = 4096;

constexpr std::array kKinds{
    std::pair{"convolution", LayerKind::convolution},
    std::pair{"dense", LayerKind::dense},
    std::pair{"max-pool", LayerKind::maxPool},
    std::pair{"average-pool", LayerKind::averagePool},
    std::pair{"l2-pool", LayerKind::l2Pool},
    std::pair{"batch-normalization", LayerKind::batchNormalization},
    std::pair{"instance-normalization", LayerKind::instanceNormalization},
    std::pair{"group-normalization", LayerKind::groupNormalization},
    std::pair{"dropout", LayerKind::dropout},
    std::pair{"softmax", LayerKind::softMax},
    std::pair{"log-softmax", LayerKind::logSoftMax},
    std::pair{"spatial-mean", LayerKind::spatialMean},
    std::pair{"reshape", LayerKind::reshape},
    std::pair{"add", LayerKind::add},
    std::pair{"subtract", LayerKind::subtract},
    std::pair{"multiply", LayerKind::multiply},
    std::pair{"concatenate", LayerKind::concatenate},
};

std::string kindNames() {
  std::string names;
  for (const auto& [name, kind] : kKinds) names += std::string(name) + ", ";
  return names;
}

/// The neuron of a name; nothing for a name that is none's.
std::optional<CNNNeuronType> neuronCalled(std::string_view name) {
  try {
    const CNNNeuronType type = neuronTypeNamed(name);
    return type == CNNNeuronType::none ? std::nullopt : std::optional(type);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool hasSeveralSources(LayerKind kind) {
  return kind == LayerKind::add || kind == LayerKind::subtract || kind == LayerKind::multiply ||
         kind == LayerKind::concatenate;
}

std::size_t resultSize(std::size_t size, std::size_t window, std::size_t stride, Border border) {
  switch (border) {
    case Border::valid:
      return size < window ? 0 : (size - window) / stride + 1;
    case Border::full:
      return (size + window - 1 + stride - 1) / stride;
    default:
      return (size + stride - 1) / stride;
  }
}

class Parser {
 public:
  explicit Parser(std::string_view title) : title_(title) {}

  LayeredNetwork parse(std::string_view text) {
    std::size_t number = 0;
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      Line line(text.substr(0, end), ++number, title_);
      if (!line.isAtEnd()) parseLine(line);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    const Line end("", number + 1, title_);
    if (network_.layers.empty()) end.expected(end.peek(), "a line such as \"input 28x28x1\"");
    if (network_.layers.size() == 1) end.expected(end.peek(), "at least one layer after the input");
    requireAllRead();
    return std::move(network_);
  }

 private:
  const Layer& source(const Layer& layer) const { return network_.layers[layer.sources.front()]; }

  void parseLine(Line& line) {
    if (network_.layers.empty()) return parseInput(line);
    if (line.peek().text == "from") {
      line.take();
      current_ = takeLayer(line);
      return requireEnd(line, "the end of the line");
    }
    Layer layer;
    std::optional<Word> nameWord;
    if (line.peek(1).text == "=") {
      nameWord = line.peek();
      layer.name = line.takeName("a name before the equals sign");
      line.take();
    }
    const Word kindWord = line.peek();
    takeKind(line, layer);
    if (hasSeveralSources(layer.kind)) {
      do {
        layer.sources.push_back(takeLayer(line));
      } while (layer.kind == LayerKind::concatenate ? isLayer(line.peek()) : layer.sources.size() < 2);
      if (layer.sources.size() < 2) line.expected(line.peek(), "a second layer to concatenate");
    } else {
      layer.sources = {current_};
      takeArguments(line, layer);
    }
    takeOptions(line, layer, nameWord);
    size(line, kindWord, layer);
    add(line, nameWord.value_or(kindWord), kindWord, std::move(layer));
  }

  void parseInput(Line& line) {
    Layer input;
    input.name = "input";
    if (line.peek(1).text == "=") {
      input.name = line.takeName("a name before the equals sign");
      line.take();
    }
    const Word word = line.peek();
    if (!line.takeIf("input")) line.expected(word, "\"input HEIGHTxWIDTHxCHANNELS\" as the first line");
    const auto shape = line.takeCounts("HEIGHTxWIDTHxCHANNELS, such as 28x28x1", 3, kMaximumSize);
    input.shape = {shape[0], shape[1], shape[2]};
    requireEnd(line, "the end of the line");
    checkShape(line, word, input);
    add(line, word, word, std::move(input));
  }

  void takeKind(Line& line, Layer& layer) {
    const Word word = line.take();
    for (const auto& [name, kind] : kKinds) {
      if (word.text != name) continue;
      layer.kind = kind;
      return;
    }
    const auto type = neuronCalled(word.text);
    if (!type) line.expected(word, fmt::format("a layer ({}or a neuron such as relu)", kindNames()));
    layer.kind = LayerKind::neuron;
    layer.neuron = defaultNeuron(*type);
  }

  void takeArguments(Line& line, Layer& layer) {
    switch (layer.kind) {
      case LayerKind::convolution: {
        const auto sizes = line.takeCounts("HEIGHTxWIDTHxCHANNELS of the kernel, such as 5x5x32", 3, kMaximumSize);
        layer.kernelHeight = sizes[0];
        layer.kernelWidth = sizes[1];
        layer.shape.channels = sizes[2];
        return;
      }
      case LayerKind::dense:
        layer.shape.channels = line.takeCount("the number of units", kMaximumUnits);
        return;
      case LayerKind::maxPool:
      case LayerKind::averagePool:
      case LayerKind::l2Pool: {
        const auto sizes = line.takeCounts("HEIGHTxWIDTH of the window, such as 2x2", 2, kMaximumSize);
        layer.kernelHeight = layer.strideY = sizes[0];
        layer.kernelWidth = layer.strideX = sizes[1];
        return;
      }
      case LayerKind::groupNormalization:
        layer.groups = line.takeCount("the number of groups", kMaximumSize);
        return;
      case LayerKind::dropout: {
        const Word word = line.peek();
        layer.dropped = line.takeNumber("the share of elements that are dropped, such as 0.5");
        if (!(layer.dropped > 0 && layer.dropped < 1)) line.fail(word, "the share must lie between 0 and 1");
        return;
      }
      case LayerKind::reshape: {
        const auto sizes = line.takeCounts("HEIGHTxWIDTHxCHANNELS, such as 1x1x64", 3, kMaximumSize);
        layer.shape = {sizes[0], sizes[1], sizes[2]};
        return;
      }
      default:
        return;
    }
  }

  void takeOptions(Line& line, Layer& layer, std::optional<Word>& nameWord) {
    const bool isConvolution = layer.kind == LayerKind::convolution;
    const bool hasWindow = isConvolution || layer.kind == LayerKind::maxPool || layer.kind == LayerKind::averagePool ||
                           layer.kind == LayerKind::l2Pool;
    std::string possible;
    const auto isOption = [&](const char* name, bool exists) {
      if (exists) possible += (possible.empty() ? "" : ", ") + std::string(name);
      return exists && line.takeIf(name);
    };
    while (!line.isAtEnd()) {
      possible.clear();
      const Word word = line.peek();
      if (isOption("stride", hasWindow)) {
        std::tie(layer.strideY, layer.strideX) = takePair(line, "a stride such as 2 or 2x1");
      } else if (isOption("dilation", isConvolution)) {
        std::tie(layer.dilationY, layer.dilationX) = takePair(line, "a dilation rate such as 2 or 2x1");
      } else if (isOption("groups", isConvolution)) {
        layer.groups = line.takeCount("the number of groups", kMaximumSize);
      } else if (isOption("padding", hasWindow)) {
        layer.border = takeBorder(line);
      } else if (isOption("a", layer.kind == LayerKind::neuron)) {
        layer.neuron.a = line.takeNumber("a number");
      } else if (isOption("b", layer.kind == LayerKind::neuron)) {
        layer.neuron.b = line.takeNumber("a number");
      } else if (isOption("c", layer.kind == LayerKind::neuron)) {
        layer.neuron.c = line.takeNumber("a number");
      } else if (isOption("epsilon", layer.isNormalization())) {
        layer.epsilon = line.takeNumber("a number");
        if (!(layer.epsilon > 0)) line.fail(word, "the epsilon must be above 0");
      } else if (isOption("momentum", layer.kind == LayerKind::batchNormalization)) {
        layer.momentum = line.takeNumber("a number");
        if (!(layer.momentum > 0 && layer.momentum <= 1))
          line.fail(word, "the momentum must lie above 0 and not above 1");
      } else if (isOption("from", !hasSeveralSources(layer.kind))) {
        layer.sources = {takeLayer(line)};
      } else if (isOption("name", layer.name.empty())) {
        nameWord = line.peek();
        layer.name = line.takeName("a name");
      } else {
        requireEnd(line, possible.empty() ? std::string("the end of the line") : "an option (" + possible + ")");
      }
    }
  }

  std::pair<std::size_t, std::size_t> takePair(Line& line, std::string_view what) {
    const bool isPair = line.peek().text.find('x') != std::string_view::npos;
    const auto counts = line.takeCounts(what, isPair ? 2 : 1, kMaximumSize);
    return {counts.front(), counts.back()};
  }

  Border takeBorder(Line& line) {
    if (line.takeIf("same")) return Border::same;
    if (line.takeIf("valid")) return Border::valid;
    if (line.takeIf("full")) return Border::full;
    line.expected(line.peek(), "same, valid or full");
  }

  bool isLayer(const Word& word) const { return names_.contains(std::string(word.text)); }

  std::size_t takeLayer(Line& line) {
    const auto found = names_.find(std::string(line.peek().text));
    if (found == names_.end()) line.expected(line.peek(), "the name of a layer above");
    line.take();
    return found->second;
  }

  void requireEnd(const Line& line, std::string_view what) const {
    if (!line.isAtEnd()) line.expected(line.peek(), what);
  }

  /// The shape of the result, and whether the sources fit.
  void size(const Line& line, const Word& word, Layer& layer) {
    const ImageShape& from = source(layer).shape;
    switch (layer.kind) {
      case LayerKind::dense:
        layer.kernelHeight = from.height;
        layer.kernelWidth = from.width;
        layer.border = Border::valid;
        break;
      case LayerKind::convolution:
        if (from.channels % layer.groups != 0 || layer.shape.channels % layer.groups != 0) {
          line.fail(word, fmt::format("{} groups do not divide {} channels read and {} made evenly", layer.groups,
                                      from.channels, layer.shape.channels));
        }
        window(line, word, layer, from);
        break;
      case LayerKind::maxPool:
      case LayerKind::averagePool:
      case LayerKind::l2Pool:
        layer.shape.channels = from.channels;
        window(line, word, layer, from);
        break;
      case LayerKind::spatialMean:
        layer.shape = {1, 1, from.channels};
        break;
      case LayerKind::reshape:
        if (layer.shape.elements() != from.elements()) {
          line.fail(word, fmt::format("{} elements of {} do not make {}", from.elements(), describe(from),
                                      describe(layer.shape)));
        }
        break;
      case LayerKind::concatenate:
        concatenate(line, word, layer);
        break;
      case LayerKind::groupNormalization:
        if (from.channels % layer.groups != 0)
          line.fail(word, fmt::format("{} groups do not divide {} channels evenly", layer.groups, from.channels));
        layer.shape = from;
        break;
      default:
        for (const std::size_t other : layer.sources) requireShape(line, word, other, from);
        layer.shape = from;
        break;
    }
    if (layer.kind == LayerKind::neuron) checkNeuron(line, word, layer.neuron);
    checkShape(line, word, layer);
  }

  void window(const Line& line, const Word& word, Layer& layer, const ImageShape& from) {
    const std::size_t height = (layer.kernelHeight - 1) * layer.dilationY + 1;
    const std::size_t width = (layer.kernelWidth - 1) * layer.dilationX + 1;
    layer.shape.height = resultSize(from.height, height, layer.strideY, layer.border);
    layer.shape.width = resultSize(from.width, width, layer.strideX, layer.border);
    if (layer.shape.height == 0 || layer.shape.width == 0) {
      line.fail(word, fmt::format("a window of {}x{} does not fit into {}x{}", height, width, from.height, from.width));
    }
  }

  /// Each source begins at a multiple of 4 channels.
  void concatenate(const Line& line, const Word& word, Layer& layer) {
    layer.shape = source(layer).shape;
    layer.shape.channels = 0;
    for (const std::size_t other : layer.sources) {
      const ImageShape& shape = network_.layers[other].shape;
      requireShape(line, word, other, {layer.shape.height, layer.shape.width, shape.channels});
      layer.shape.channels = (layer.shape.channels + 3) / 4 * 4 + shape.channels;
    }
  }

  void requireShape(const Line& line, const Word& word, std::size_t other, const ImageShape& shape) const {
    if (network_.layers[other].shape == shape) return;
    line.fail(word, fmt::format("{} is {}, but \"{}\" is {}", network_.layers[other].name,
                                describe(network_.layers[other].shape), word.text, describe(shape)));
  }

  void checkNeuron(const Line& line, const Word& word, const NeuronOptions& neuron) const {
    if (neuron.type == CNNNeuronType::pReLU) return;
    try {
      math::checkNeuronParameters(neuron.type, neuron.a, neuron.b, neuron.c);
    } catch (const Error& error) {
      std::string sentence(error.message());
      if (sentence.ends_with('.')) sentence.pop_back();
      line.fail(word, sentence);
    }
  }

  void checkShape(const Line& line, const Word& word, const Layer& layer) const {
    const auto tooLarge = [&](std::size_t count, std::size_t maximum, const char* what) {
      if (count <= maximum) return;
      line.fail(word, fmt::format("the layer has {} {}, but at most {} are possible", count, what, maximum));
    };
    tooLarge(layer.shape.height, kMaximumUnits, "rows");
    tooLarge(layer.shape.width, kMaximumUnits, "columns");
    tooLarge(layer.shape.channels, kMaximumUnits, "channels");
    tooLarge(layer.shape.elements(), kMaximumElements, "elements");
    if (!layer.hasWeights()) return;
    const std::size_t window = layer.kernelHeight * layer.kernelWidth;  // at most 2^40
    tooLarge(window, kMaximumElements, "pixels in its window");
    const std::size_t inputs = window * (network_.sourceChannels(layer) / layer.groups);
    tooLarge(inputs, kMaximumParameters, "weights for one output");
    tooLarge(inputs * layer.shape.channels, kMaximumParameters, "weights");
  }

  void add(const Line& line, const Word& nameWord, const Word& kindWord, Layer layer) {
    if (network_.layers.size() == kMaximumLayers)
      line.fail(kindWord, fmt::format("there are more than {} layers", kMaximumLayers));
    if (layer.name.empty()) layer.name = freshName(kindWord.text);
    if (names_.contains(layer.name)) line.fail(nameWord, fmt::format("there is a layer \"{}\" already", layer.name));
    current_ = network_.layers.size();
    names_[layer.name] = current_;
    places_.push_back(kindWord);
    network_.layers.push_back(std::move(layer));
  }

  /// convolution1, convolution2, ...
  std::string freshName(std::string_view kind) {
    std::string name;
    do {
      name = fmt::format("{}{}", kind, ++counts_[std::string(kind)]);
    } while (names_.contains(name));
    return name;
  }

  /// A layer that nobody reads is a mistake in a name.
  void requireAllRead() const {
    std::vector<char> isRead(network_.layers.size());
    isRead.back() = 1;
    for (std::size_t i = network_.layers.size(); i-- > 0;) {
      if (!isRead[i]) {
        const Line line("", places_[i].line, title_);
        line.fail(places_[i], fmt::format("no layer below reads \"{}\"", network_.layers[i].name));
      }
      for (const std::size_t source : network_.layers[i].sources) isRead[source] = 1;
    }
  }

  std::string_view title_;
  LayeredNetwork network_;
  std::map<std::string, std::size_t> names_;
  std::map<std::string, std::size_t> counts_;
  std::vector<Word> places_;  // of the layers
  std::size_t current_ = 0;   // what the next line reads
};

constexpr std::string_view kMlp = R"(# The network mlp with its default options, which `train` runs on matrices.
input 28x28x1
dense 512
batch-normalization
relu
dense 256
batch-normalization
relu
dense 10
)";

constexpr std::string_view kLeNet =
    R"(# Two convolutions and two dense layers, after LeNet-5 and the sample "Training a Neural Network with Metal
# Performance Shaders".
input 28x28x1
convolution 5x5x32
relu
max-pool 2x2 stride 2
convolution 5x5x64
relu
max-pool 2x2 stride 2
dense 1024
relu
dropout 0.5
dense 10
)";

}  // namespace

std::string describe(const ImageShape& shape) {
  return fmt::format("{}x{}x{}", shape.height, shape.width, shape.channels);
}

std::size_t LayeredNetwork::logits() const {
  const Layer& last = layers.back();
  return last.kind == LayerKind::softMax || last.kind == LayerKind::logSoftMax ? last.sources.front()
                                                                               : layers.size() - 1;
}

std::size_t LayeredNetwork::parameters() const {
  std::size_t sum = 0;
  for (const Layer& layer : layers) {
    if (layer.hasWeights()) {
      sum += layer.shape.channels * (layer.kernelHeight * layer.kernelWidth * sourceChannels(layer) / layer.groups + 1);
    }
    if (layer.isNormalization()) sum += 2 * layer.shape.channels;
  }
  return sum;
}

LayeredNetwork parseNetwork(std::string_view text, std::string_view title) { return Parser(title).parse(text); }

std::string_view builtInNetwork(std::string_view name) {
  if (name == "mlp") return kMlp;
  return name == "lenet" ? kLeNet : std::string_view();
}

}  // namespace metalloid::training
