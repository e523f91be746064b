// What `metalloid train` prints and writes.

#include "formats/safetensors.hpp"
#include "tool/tiny_run.hpp"

#include <filesystem>
#include <regex>
#include <string>

#include <gtest/gtest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace metalloid {
namespace {

using namespace testing;
namespace fs = std::filesystem;

TEST(Train, IntoAPipePrintsPlainLines) {
  const TinyRuns runs;
  const ToolResult result = runTool(runs.train("run"));
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(result.output.find('\x1b'), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find('\r'), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("network 36-16-8-4, reLU, batch normalization"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("epoch 4/4"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("samples/s"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(runs.path("run") + "/weights.safetensors"), std::string::npos) << result.output;
}

TEST(Train, OnATerminalRewritesOneLine) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) GTEST_SKIP() << "skipped: the system gives no pseudo terminal";
  close(terminal);
  const TinyRuns runs;
  const ToolResult result =
      runTool(runs.train("run"), {.output = Output::terminal, .fileSizeLimit = {}, .directory = {}});
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_NE(result.output.find("\r"), std::string::npos);
  EXPECT_NE(result.output.find("\x1b[K"), std::string::npos);
  EXPECT_TRUE(std::regex_search(result.output, std::regex("epoch 4/4 +100 %  loss [0-9.]+  accuracy [0-9.]+ %")))
      << result.output;
}

TEST(Train, FirstLineComesWithinASecond) {
  const TinyRuns runs;
  const auto start = std::chrono::steady_clock::now();
  ToolProcess tool(runs.train("run"));
  ASSERT_TRUE(tool.waitFor("metalloid "));
  // Nothing is read before it is printed; a slow machine gets more time than the second that is promised.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(tool.finish().status, 0);
}

TEST(Train, JsonIsOneObjectALineAndNothingElse) {
  const TinyRuns runs;
  const ToolResult result = runTool(runs.train("run", {"--json", "--validation-split", "0.2"}));
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  const auto lines = TinyRuns::timeless(result.output);  // throws where a line is no JSON
  ASSERT_EQ(lines.size(), 6u) << result.output;          // a first one, four epochs, the last
  EXPECT_EQ(lines.front().at("run"), runs.path("run"));
  for (std::size_t epoch = 1; epoch <= 4; ++epoch) {
    const auto& line = lines[epoch];
    EXPECT_EQ(line.at("epoch"), epoch);
    for (const char* member : {"train_loss", "train_accuracy", "test_accuracy", "test_loss", "validation_loss",
                               "validation_accuracy", "learning_rate"}) {
      EXPECT_TRUE(line.at(member).is_number()) << member;
    }
  }
  EXPECT_NE(result.output.find("\"samples_per_second\""), std::string::npos);
  EXPECT_EQ(lines.back().at("final"), true);
  EXPECT_GT(lines.back().at("test_accuracy"), 0.7);
  EXPECT_EQ(lines.back().at("test_accuracy"), lines[4].at("test_accuracy"));
}

TEST(Train, WritesWeightsMetricsAndReport) {
  const TinyRuns runs;
  const ToolResult result = runTool(runs.train("run", {"--json"}));
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto file = formats::SafetensorsFile::read(runs.path("run") + "/weights.safetensors");
  ASSERT_NE(file.find("hidden.0.weight"), nullptr);
  EXPECT_EQ(file.find("hidden.0.weight")->shape, (std::vector<std::size_t>{36, 16}));
  EXPECT_EQ(file.find("hidden.1.running_variance")->shape, (std::vector<std::size_t>{8}));
  EXPECT_EQ(file.find("output.bias")->shape, (std::vector<std::size_t>{4}));
  auto printed = TinyRuns::timeless(result.output);
  printed.erase(printed.begin());
  EXPECT_EQ(runs.metrics("run"), printed);
  const std::string report = readFile(runs.path("run") + "/report.html");
  EXPECT_NE(report.find("<svg"), std::string::npos);
  EXPECT_NE(report.find("Test accuracy"), std::string::npos);
  EXPECT_EQ(report.find("<script"), std::string::npos);
}

TEST(Train, WithoutAReportWritesNone) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run", {"--no-report"})).status, 0);
  EXPECT_FALSE(fs::exists(runs.path("run") + "/report.html"));
}

TEST(Train, WithoutOutMakesADatedDirectory) {
  const TinyRuns runs;
  const ToolResult result = runTool({"train", "--data", runs.data(), "--hidden", "4", "--epochs", "1"},
                                    {.output = Output::pipe, .fileSizeLimit = {}, .directory = runs.path(".")});
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto run = fs::directory_iterator(runs.path("runs"))->path();
  EXPECT_TRUE(std::regex_match(run.filename().string(), std::regex("[0-9]{8}-[0-9]{6}")));
  EXPECT_TRUE(fs::exists(run / "weights.safetensors"));
}

TEST(Train, BitsDoNotDependOnThreadsNorOnTheRun) {
  const TinyRuns runs;
  for (const char* threads : {"1", "2", "4"}) {
    const ToolResult result = runTool(runs.train(std::string("threads") + threads, {"--threads", threads}));
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  ASSERT_EQ(runTool(runs.train("again")).status, 0);
  for (const char* other : {"threads2", "threads4", "again"}) {
    EXPECT_EQ(runs.weights("threads1"), runs.weights(other)) << other;
    EXPECT_EQ(runs.metrics("threads1"), runs.metrics(other)) << other;
  }
}

TEST(Train, AnotherSeedGivesOtherBits) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("a")).status, 0);
  ASSERT_EQ(runTool(runs.train("b", {"--seed", "1"})).status, 0);
  EXPECT_NE(runs.weights("a"), runs.weights("b"));
}

// Every option that changes the arithmetic: the run must end well and have learned, on both devices.
class TrainOptions : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(TrainOptions, Learns) {
  const TinyRuns runs;
  for (const char* device : {"cpu", "reference"}) {
    auto more = GetParam();
    more.insert(more.end(), {"--device", device, "--json", "--epochs", "12"});
    const ToolResult result = runTool(runs.train(device, more));
    ASSERT_EQ(result.status, 0) << result.errors;
    // Guessing gives 0.25.
    EXPECT_GT(TinyRuns::timeless(result.output).back().at("test_accuracy"), 0.7) << device;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Options, TrainOptions,
    ::testing::Values(std::vector<std::string>{"--optimizer", "sgd"},
                      std::vector<std::string>{"--optimizer", "sgd", "--momentum", "0", "--learning-rate", "0.2"},
                      std::vector<std::string>{"--optimizer", "sgd", "--nesterov", "--schedule", "constant"},
                      std::vector<std::string>{"--optimizer", "rmsprop", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--amsgrad", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--weight-decay", "0.001", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--l1", "0.0001", "--gradient-clip", "0.1", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--batch-normalization", "off", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--neuron", "gelu", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--neuron", "prelu", "--neuron-a", "0.1", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--neuron", "prelu", "--batch-normalization", "off", "--learning-rate",
                                               "0.01"},
                      std::vector<std::string>{"--neuron", "tanh", "--hidden", "16", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--hidden", "none", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--schedule", "step", "--schedule-epochs", "3", "--schedule-factor",
                                               "0.5", "--learning-rate", "0.01"},
                      std::vector<std::string>{"--label-smoothing", "0.1", "--learning-rate", "0.01"}));

}  // namespace
}  // namespace metalloid
