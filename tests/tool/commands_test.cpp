// The subcommands beside train.

#include "tool/tiny_run.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using namespace testing;

const std::vector<std::string> kCommands{"train", "evaluate", "predict", "devices", "explain", "gradcheck"};

TEST(Commands, HelpEverywhere) {
  const ToolResult tool = runTool({"--help"});
  EXPECT_EQ(tool.status, 0);
  for (const auto& command : kCommands) {
    EXPECT_NE(tool.output.find("  " + command), std::string::npos) << command;
    const ToolResult help = runTool({command, "--help"});
    EXPECT_EQ(help.status, 0) << command;
    EXPECT_EQ(help.errors, "") << command;
    EXPECT_NE(help.output.find("Usage: metalloid " + command), std::string::npos) << help.output;
  }
}

TEST(Commands, Version) {
  const ToolResult result = runTool({"--version"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.output, "metalloid " METALLOID_VERSION "\n");
}

TEST(Commands, Devices) {
  const ToolResult result = runTool({"devices", "--json"});
  ASSERT_EQ(result.status, 0) << result.errors;
  std::vector<std::string> names;
  for (const auto& line : TinyRuns::timeless(result.output)) names.push_back(line.at("name"));
  for (const char* name : {"cpu", "reference", "null"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  EXPECT_NE(runTool({"devices"}).output.find("reference"), std::string::npos);
}

TEST(Commands, EvaluateAgreesWithTheRun) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const ToolResult result = runTool({"evaluate", runs.path("run"), "--data", runs.data(), "--json"});
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto line = TinyRuns::timeless(result.output).at(0);
  EXPECT_EQ(line.at("images"), 61);
  EXPECT_EQ(line.at("test_accuracy"), runs.metrics("run").back().at("test_accuracy"));
  EXPECT_EQ(line.at("classes").size(), 4u);
  const ToolResult other =
      runTool({"evaluate", runs.path("run") + "/weights.safetensors", "--data", runs.data(), "--device", "reference"});
  EXPECT_EQ(other.status, 0) << other.errors;
  EXPECT_NE(other.output.find("61 test images"), std::string::npos) << other.output;
}

TEST(Commands, PredictTellsMostImagesRight) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const std::string images = runs.data() + "/t10k-images-idx3-ubyte";
  const ToolResult result = runTool({"predict", runs.path("run"), "--images", images, "--json", "--top", "2"});
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto lines = TinyRuns::timeless(result.output);
  const auto dataset = tinyDataset();
  ASSERT_EQ(lines.size(), dataset.test.count());
  std::size_t right = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("index"), i);
    ASSERT_EQ(lines[i].at("top").size(), 2u);
    EXPECT_GE(lines[i].at("top")[0].at("probability"), lines[i].at("top")[1].at("probability"));
    right += lines[i].at("class") == dataset.test.labels[i] ? 1 : 0;
  }
  EXPECT_EQ(static_cast<double>(right) / static_cast<double>(lines.size()),
            runs.metrics("run").back().at("test_accuracy"));

  const ToolResult chosen = runTool({"predict", runs.path("run"), "--images", images, "--index", "60,3"});
  ASSERT_EQ(chosen.status, 0) << chosen.errors;
  EXPECT_EQ(chosen.output.rfind("60: ", 0), 0u) << chosen.output;
  const ToolResult outside = runTool({"predict", runs.path("run"), "--images", images, "--index", "61"});
  EXPECT_EQ(outside.status, 2);
  EXPECT_NE(outside.errors.find("holds 61"), std::string::npos) << outside.errors;
}

TEST(Commands, ExplainNamesWhatRunsAndWhy) {
  const ToolResult result = runTool({"explain", "--hidden", "32", "--inputs", "20", "--json"});
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto lines = TinyRuns::timeless(result.output);
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0].at("operation"), "MatrixFullyConnected");
  for (const auto& line : lines) EXPECT_FALSE(line.at("implementation").get<std::string>().empty());
  const ToolResult reference = runTool({"explain", "--device", "reference"});
  EXPECT_NE(reference.output.find("NNOptimizerAdam"), std::string::npos) << reference.output;
}

class Gradcheck : public ::testing::TestWithParam<const char*> {};

TEST_P(Gradcheck, HoldsForTheNeuron) {
  const std::string neuron = GetParam();
  for (const char* device : {"cpu", "reference"}) {
    for (const char* normalization : {"on", "off"}) {
      std::vector<std::string> arguments{"gradcheck",   "--device", device, "--hidden",
                                         "17,9",        "--inputs", "21",   "--classes",
                                         "5",           "--neuron", neuron, "--batch-normalization",
                                         normalization, "--json"};
      // Positive arguments keep these inside of their domains.
      if (neuron == "logarithm") arguments.insert(arguments.end(), {"--neuron-b", "8"});
      if (neuron == "power") arguments.insert(arguments.end(), {"--neuron-c", "2"});
      const ToolResult result = runTool(arguments);
      EXPECT_EQ(result.status, 0) << device << " " << normalization << "\n" << result.output << result.errors;
      const auto lines = TinyRuns::timeless(result.output);
      ASSERT_GT(lines.size(), 1u);
      EXPECT_EQ(lines.back().at("holds"), true) << result.output;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Neurons, Gradcheck,
                         ::testing::Values("none", "relu", "linear", "sigmoid", "hard-sigmoid", "tanh", "absolute",
                                           "softplus", "softsign", "elu", "prelu", "relun", "power", "exponential",
                                           "logarithm", "gelu"));

TEST(Commands, GradcheckFailsWhereTheToleranceIsBeyondReach) {
  const ToolResult result = runTool({"gradcheck", "--hidden", "8", "--inputs", "10", "--tolerance", "1e-12"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.output.find("FAILS"), std::string::npos);
}

TEST(Commands, GradcheckSaysThatALossIsNotFinite) {
  const ToolResult result = runTool({"gradcheck", "--hidden", "8", "--inputs", "10", "--neuron", "logarithm"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.errors.find("loss of the network"), std::string::npos) << result.errors;
}

}  // namespace
}  // namespace metalloid
