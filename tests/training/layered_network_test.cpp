#include "training/layered_network.hpp"

#include <metalloid/error.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

LayeredNetwork parse(const std::string& text) { return parseNetwork(text, "net"); }

/// What the parser says against a description.
std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformedFile);
    return std::string(error.message());
  }
  ADD_FAILURE() << "taken: " << text;
  return {};
}

void expectRefusal(const std::string& text, const std::string& place, const std::string& part) {
  const std::string message = refusal(text);
  EXPECT_TRUE(message.starts_with("net:" + place + ": ")) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

std::string shapes(const LayeredNetwork& network) {
  std::string text;
  for (const Layer& layer : network.layers) text += layer.name + " " + describe(layer.shape) + "\n";
  return text;
}

TEST(LayeredNetwork, LeNetHasItsShapesAndParameters) {
  const LayeredNetwork lenet = parseNetwork(builtInNetwork("lenet"), "lenet");
  EXPECT_EQ(shapes(lenet),
            "input 28x28x1\n"
            "convolution1 28x28x32\n"
            "relu1 28x28x32\n"
            "max-pool1 14x14x32\n"
            "convolution2 14x14x64\n"
            "relu2 14x14x64\n"
            "max-pool2 7x7x64\n"
            "dense1 1x1x1024\n"
            "relu3 1x1x1024\n"
            "dropout1 1x1x1024\n"
            "dense2 1x1x10\n");
  // 25*32 + 32, 25*32*64 + 64, 3136*1024 + 1024, 1024*10 + 10
  EXPECT_EQ(lenet.parameters(), 832u + 51264u + 3212288u + 10250u);
  EXPECT_EQ(lenet.layers[9].dropped, 0.5f);
}

TEST(LayeredNetwork, MlpIsThere) {
  EXPECT_EQ(parseNetwork(builtInNetwork("mlp"), "mlp").result(), (ImageShape{1, 1, 10}));
  EXPECT_TRUE(builtInNetwork("other").empty());
}

TEST(LayeredNetwork, WindowsAreSizedByStrideDilationAndPadding) {
  EXPECT_EQ(shapes(parse("input 9x10x4\n"
                         "convolution 3x3x8 stride 2 padding same\n"
                         "convolution 3x2x8 padding full dilation 2x1\n"
                         "average-pool 2x3 stride 1 padding valid\n"
                         "l2-pool 4x4\n"
                         "convolution 1x1x12 groups 4 name last\n")),
            "input 9x10x4\n"
            "convolution1 5x5x8\n"
            "convolution2 9x6x8\n"
            "average-pool1 8x4x8\n"
            "l2-pool1 2x1x8\n"
            "last 2x1x12\n");
}

TEST(LayeredNetwork, BranchesMeet) {
  const LayeredNetwork network = parse(
      "x = input 4x4x8   # what comes in\n"
      "\n"
      "a=relu\n"
      "b = tanh from x\n"
      "s = add a b\n"
      "from a\n"
      "c = convolution 3x3x6\n"
      "concatenate s c a\n"
      "spatial-mean\n"
      "dense 3\n"
      "softmax\n");
  EXPECT_EQ(network.layers[2].sources, (std::vector<std::size_t>{0}));
  EXPECT_EQ(network.layers[3].sources, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(network.layers[4].sources, (std::vector<std::size_t>{1}));
  EXPECT_EQ(network.layers[5].sources, (std::vector<std::size_t>{3, 4, 1}));
  EXPECT_EQ(network.layers[5].shape.channels, 24u);  // 8 + 6, the third from a multiple of 4 on: 16 + 8
  EXPECT_EQ(network.logits(), 7u);                   // the loss has the soft-max in itself
  EXPECT_EQ(parse("input 1x1x8\ndense 3").logits(), 1u);
}

TEST(LayeredNetwork, NeuronsHaveTheirParameters) {
  const LayeredNetwork network = parse("input 1x1x8\nrelu a 0.1\nprelu\nlinear a 2 b -1\nHard-Sigmoid\n");
  EXPECT_EQ(network.layers[1].neuron.a, 0.1f);
  EXPECT_EQ(network.layers[2].neuron.a, 0.25f);
  EXPECT_EQ(network.layers[3].neuron.b, -1.0f);
  EXPECT_EQ(network.layers[4].neuron.type, CNNNeuronType::hardSigmoid);
}

TEST(LayeredNetwork, NormalizationsHaveTheirOptions) {
  const LayeredNetwork network = parse(
      "input 2x2x8\nbatch-normalization epsilon 1e-3 momentum 0.01\ngroup-normalization 4\n"
      "instance-normalization epsilon 0.5\n");
  EXPECT_EQ(network.layers[1].epsilon, 1e-3f);
  EXPECT_EQ(network.layers[1].momentum, 0.01f);
  EXPECT_EQ(network.layers[2].groups, 4u);
  EXPECT_EQ(network.layers[3].epsilon, 0.5f);
  EXPECT_EQ(network.parameters(), 3u * 16u);
}

TEST(LayeredNetwork, ErrorsSayWhereAndWhatWasExpected) {
  expectRefusal("", "1:1", "a line such as \"input 28x28x1\"");
  expectRefusal("# nothing\n\n", "3:1", "expected a line");
  expectRefusal("dense 4\n", "1:1", "\"input HEIGHTxWIDTHxCHANNELS\" as the first line, but found \"dense\"");
  expectRefusal("input 28x28\ndense 4\n", "1:7",
                "expected HEIGHTxWIDTHxCHANNELS, such as 28x28x1, but found \"28x28\"");
  expectRefusal("input 2x2x0\ndense 4\n", "1:7", "0 is out of range: 1 to 65536");
  expectRefusal("input 2x2x2\n", "2:1", "at least one layer after the input");
  expectRefusal("input 2x2x2\n  dnse 4\n", "2:3", "expected a layer (convolution, dense,");
  expectRefusal("input 2x2x2\ninput 2x2x2\n", "2:1", "but found \"input\"");
  expectRefusal("input 2x2x2\ndense\n", "2:6", "expected the number of units, but found the end of the line");
  expectRefusal("input 2x2x2\ndense 4 5\n", "2:9", "expected an option (from, name), but found \"5\"");
  expectRefusal("input 2x2x2\nconvolution 3x3x4 padding some\n", "2:27", "expected same, valid or full");
  expectRefusal("input 2x2x2\nconvolution 3x3x4 padding valid\n", "2:1", "a window of 3x3 does not fit into 2x2");
  expectRefusal("input 2x2x6\nconvolution 3x3x4 groups 4\n", "2:1",
                "4 groups do not divide 6 channels read and 4 made");
  expectRefusal("input 2x2x6\ngroup-normalization 4\n", "2:1", "do not divide 6 channels");
  expectRefusal("input 2x2x2\nadd input other\n", "2:11", "expected the name of a layer above, but found \"other\"");
  expectRefusal("input 2x2x2\na = dense 3\nadd a input\n", "3:1", "input is 2x2x2, but \"add\" is 1x1x3");
  expectRefusal("input 2x2x2\nconcatenate input\n", "2:18", "a second layer to concatenate");
  expectRefusal("input 2x2x2\na = relu\na = tanh\n", "3:1", "there is a layer \"a\" already");
  expectRefusal("input 2x2x2\n9 = relu\n", "2:1", "expected a name before the equals sign, of letters");
  expectRefusal("input 2x2x2\na = relu\nb = tanh from input\ndense 3\n", "2:5", "no layer below reads \"a\"");
  expectRefusal("input 2x2x2\ndropout 1\n", "2:9", "the share must lie between 0 and 1");
  expectRefusal("input 2x2x2\nrelu a x\n", "2:8", "expected a number, but found \"x\"");
  expectRefusal("input 2x2x2\nreshape 1x1x9\n", "2:1", "8 elements of 2x2x2 do not make 1x1x9");
  expectRefusal("input 2x2x2\nfrom input relu\n", "2:12", "expected the end of the line");
  expectRefusal("input 65536x65536x1\ndense 1048576\n", "2:1", "at most");
  expectRefusal("input 65536x65536x65536\ndense 1\n", "1:1", "elements, but at most 4294967296 are possible");
}

TEST(LayeredNetwork, MessagesShowStrangeBytesHarmlessly) {
  expectRefusal("input 2x2x2\n\x1b[31m\xff" + std::string(200, 'z') + "\n", "2:1", "found \"?[31m?zzz");
}

}  // namespace
}  // namespace metalloid::training
