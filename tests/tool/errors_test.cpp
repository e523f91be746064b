// Exit statuses, and one sentence on the standard error for everything that goes wrong.

#include "tool/tiny_run.hpp"

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using namespace testing;
namespace fs = std::filesystem;

void expectFailure(const ToolResult& result, int status, const std::string& pattern) {
  EXPECT_EQ(result.status, status) << result.output << result.errors;
  EXPECT_TRUE(std::regex_search(result.errors, std::regex(pattern))) << result.errors;
  EXPECT_EQ(result.errors.rfind("metalloid: ", 0), 0u) << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
}

struct WrongCommandLine {
  std::vector<std::string> arguments;
  std::string pattern;
};

class CommandLine : public ::testing::TestWithParam<WrongCommandLine> {};

TEST_P(CommandLine, IsRefusedWithStatus2AndNothingWritten) {
  const TinyRuns runs;
  auto arguments = GetParam().arguments;
  if (!arguments.empty() && arguments.front() == "train")
    arguments = runs.train("run", {arguments.begin() + 1, arguments.end()});
  expectFailure(runTool(arguments), 2, GetParam().pattern);
  EXPECT_FALSE(fs::exists(runs.path("run")));
}

INSTANTIATE_TEST_SUITE_P(
    Wrong, CommandLine,
    ::testing::Values(WrongCommandLine{{}, "subcommand"}, WrongCommandLine{{"trian"}, "no command \"trian\""},
                      WrongCommandLine{{"train", "--bogus"}, "--bogus"},
                      WrongCommandLine{{"train", "--epochs", "0"}, "number of epochs is 0"},
                      WrongCommandLine{{"train", "--epochs", "many"}, "--epochs"},
                      WrongCommandLine{{"train", "--batch-size", "0"}, "batch size is 0"},
                      WrongCommandLine{{"train", "--batch-size", "1"}, "at least 2 samples"},
                      WrongCommandLine{{"train", "--hidden", "5,x"}, "\"x\" is no width"},
                      WrongCommandLine{{"train", "--hidden", "5,0"}, "0 units"},
                      WrongCommandLine{{"train", "--hidden", "5,"}, "no width"},
                      WrongCommandLine{{"train", "--neuron", "rulu"}, "no neuron \"rulu\".*relu"},
                      WrongCommandLine{{"train", "--neuron", "exponential", "--neuron-c", "-2"}, "base"},
                      WrongCommandLine{{"train", "--neuron", "relu", "--neuron-a", "nan"}, "."},
                      WrongCommandLine{{"train", "--optimizer", "lbfgs"}, "no optimizer \"lbfgs\""},
                      WrongCommandLine{{"train", "--learning-rate", "-1"}, "learning rate is -1"},
                      WrongCommandLine{{"train", "--momentum", "1"}, "momentum is 1"},
                      WrongCommandLine{{"train", "--beta2", "1"}, "beta2 is 1"},
                      WrongCommandLine{{"train", "--l1", "1", "--weight-decay", "1"}, "only one"},
                      WrongCommandLine{{"train", "--gradient-clip", "0"}, "clip"},
                      WrongCommandLine{{"train", "--schedule", "linear"}, "no schedule \"linear\""},
                      WrongCommandLine{{"train", "--label-smoothing", "1"}, "label smoothing is 1"},
                      WrongCommandLine{{"train", "--validation-split", "1"}, "validation split is 1"},
                      WrongCommandLine{{"train", "--validation-split", "0.0001"}, "holds back 0 of the 203"},
                      WrongCommandLine{{"train", "--bn-epsilon", "0"}, "epsilon of batch normalization is 0"},
                      WrongCommandLine{{"train", "--bn-momentum", "2"}, "momentum of batch normalization is 2"},
                      WrongCommandLine{{"train", "--batch-normalization", "perhaps"}, "--batch-normalization"},
                      WrongCommandLine{{"train", "--checkpoint-every", "0"}, "--checkpoint-every"},
                      WrongCommandLine{{"train", "--threads", "0"}, "--threads"},
                      WrongCommandLine{{"train", "--device", "toaster"}, "no device \"toaster\".*cpu"},
                      WrongCommandLine{{"train", "--device", "null"}, "null computes nothing"},
                      WrongCommandLine{{"train", "--seed", "-1"}, "--seed"}, WrongCommandLine{{"evaluate"}, "weights"},
                      WrongCommandLine{{"gradcheck", "--samples", "1"}, "1 samples"},
                      WrongCommandLine{{"gradcheck", "--device", "null"}, "null computes nothing"}));

TEST(Errors, ARunIsNotOverwritten) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const std::string weights = runs.weights("run");
  expectFailure(runTool(runs.train("run", {"--seed", "7"})), 2, "holds a run already");
  EXPECT_EQ(runs.weights("run"), weights);
}

TEST(Errors, ADirectoryOfSomethingElseIsLeftAlone) {
  const TinyRuns runs;
  fs::create_directory(runs.path("run"));
  writeFile(runs.path("run") + "/precious", "1");
  expectFailure(runTool(runs.train("run")), 2, "is not empty");
  EXPECT_EQ(readFile(runs.path("run") + "/precious"), "1");
}

TEST(Errors, ResumeTakesNoOptionThatChangesTheBits) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  expectFailure(runTool({"train", "--resume", runs.path("run"), "--epochs", "5"}), 2, "takes no --epochs");
  expectFailure(runTool({"train", "--resume", runs.path("run"), "--device", "cpu"}), 2, "takes no --device");
  expectFailure(runTool({"train", "--resume", runs.path("absent")}), 2, "no training run");
}

TEST(Errors, DamagedRunFiles) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const std::string options = readFile(runs.path("run") + "/run.json");
  writeFile(runs.path("run") + "/run.json", options.substr(0, options.size() / 2));
  expectFailure(runTool({"train", "--resume", runs.path("run")}), 1, "run.json");
  writeFile(runs.path("run") + "/run.json", std::regex_replace(options, std::regex("\"epochs\": 4"), "\"epochs\": -4"));
  expectFailure(runTool({"train", "--resume", runs.path("run")}), 1, "\"epochs\"");
  writeFile(runs.path("run") + "/run.json", options);
  writeFile(runs.path("run") + "/metrics.jsonl", "[1]\n");
  expectFailure(runTool({"train", "--resume", runs.path("run")}), 1, "metrics.jsonl");
}

TEST(Errors, DamagedImages) {
  const TinyRuns runs;
  const std::string labels = runs.data() + "/train-labels-idx1-ubyte";
  const std::string good = readFile(labels);
  writeFile(labels, good.substr(0, good.size() - 3));
  expectFailure(runTool(runs.train("run")), 1, "train-labels-idx1-ubyte");
  writeFile(labels, good + "x");
  expectFailure(runTool(runs.train("run")), 1, "train-labels-idx1-ubyte");
  fs::remove(labels);
  expectFailure(runTool(runs.train("run")), 1, "train-labels-idx1-ubyte\" does not exist");
  EXPECT_FALSE(fs::exists(runs.path("run")));
}

TEST(Errors, DamagedWeights) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const std::string file = runs.path("run") + "/weights.safetensors";
  const std::string good = readFile(file);
  writeFile(file, good.substr(0, good.size() - 1));
  expectFailure(runTool({"evaluate", runs.path("run"), "--data", runs.data()}), 1, "weights.safetensors");
  writeFile(file, "");
  expectFailure(runTool({"predict", runs.path("run"), "--images", runs.data() + "/t10k-images-idx3-ubyte"}), 1,
                "weights.safetensors");
  expectFailure(runTool({"evaluate", runs.path("absent"), "--data", runs.data()}), 1, "absent");
}

TEST(Errors, NumbersThatGoNonFiniteNameStepLayerAndCheckpoint) {
  const TinyRuns runs;
  const ToolResult first =
      runTool(runs.train("run", {"--optimizer", "sgd", "--learning-rate", "1e30", "--batch-normalization", "off"}));
  expectFailure(first, 1, "gone astray: .*step [0-9]+.*(hidden|output|logits).*no checkpoint yet");

  // A rate at which the products overflow only after some steps.
  const ToolResult later = runTool(
      runs.train("later", {"--optimizer", "sgd", "--learning-rate", "8", "--batch-normalization", "off", "--neuron",
                           "power", "--neuron-c", "3", "--checkpoint-every", "1", "--schedule", "constant"}));
  expectFailure(later, 1, "gone astray: .*The first that is not finite is .*(layer|gradient|updated).*step-[0-9]+");
}

TEST(Errors, AFullDiskAtTheStart) {
  const TinyRuns runs;
  const ToolResult result = runTool(runs.train("run"), {.output = Output::pipe, .fileSizeLimit = 100, .directory = {}});
  expectFailure(result, 1, "run");
}

TEST(Errors, AnOutputDirectoryThatCannotBe) {
  const TinyRuns runs;
  const ToolResult result = runTool(runs.train("data/train-images-idx3-ubyte/run"));
  EXPECT_NE(result.status, 0);
  EXPECT_EQ(result.errors.rfind("metalloid: ", 0), 0u) << result.errors;
}

}  // namespace
}  // namespace metalloid
