// Networks that a file describes, from training to prediction, and their drawings.

#include "tool/tiny_run.hpp"

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using namespace testing;

constexpr const char* kNetwork =
    "# images of 6x6\ninput 6x6x1\nconvolution 3x3x4\nbatch-normalization\nrelu\nmax-pool 2x2\ndropout 0.1\ndense 4\n";

class Network : public ::testing::Test {
 protected:
  Network() { writeFile(network_, kNetwork); }

  std::vector<std::string> train(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"train", "--network",       network_,       "--data", runs_.data(),
                                       "--out", runs_.path(run),   "--batch-size", "20",     "--epochs",
                                       "4",     "--learning-rate", "0.02"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  const TinyRuns runs_;
  const std::string network_ = runs_.path("tiny.net");
};

TEST_F(Network, TrainsEvaluatesAndPredicts) {
  const ToolResult result = runTool(train("run", {"--json"}));
  ASSERT_EQ(result.status, 0) << result.errors;
  const auto lines = TinyRuns::timeless(result.output);
  ASSERT_EQ(lines.size(), 6u) << result.output;
  EXPECT_GT(lines.back().at("test_accuracy"), 0.6);  // guessing gives 0.25
  EXPECT_NE(readFile(runs_.path("run") + "/report.html").find("tiny.net"), std::string::npos);

  const ToolResult evaluated = runTool({"evaluate", runs_.path("run"), "--data", runs_.data(), "--json"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.errors;
  EXPECT_EQ(TinyRuns::timeless(evaluated.output).front().at("test_accuracy"), lines.back().at("test_accuracy"));

  const ToolResult predicted = runTool(
      {"predict", runs_.path("run"), "--images", runs_.data() + "/t10k-images-idx3-ubyte", "--index", "0,5", "--json"});
  ASSERT_EQ(predicted.status, 0) << predicted.errors;
  EXPECT_EQ(TinyRuns::timeless(predicted.output).size(), 2u);
}

TEST_F(Network, EndsWithTheSameBitsWhenItIsKilledAndResumed) {
  const std::vector<std::string> more{"--checkpoint-every", "7", "--validation-split", "0.1", "--epochs", "12"};
  ASSERT_EQ(runTool(train("whole", more)).status, 0);
  ToolProcess tool(train("killed", more));
  ASSERT_TRUE(tool.waitFor("epoch  3/12")) << tool.finish().output;
  tool.signal(SIGKILL);
  tool.finish();
  // The run has its network in itself.
  std::filesystem::remove(network_);
  const ToolResult result = runTool({"train", "--resume", runs_.path("killed"), "--threads", "3"});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(runs_.weights("whole"), runs_.weights("killed"));
  EXPECT_EQ(runs_.metrics("whole"), runs_.metrics("killed"));
}

TEST_F(Network, MistakesAreNamed) {
  const auto refused = [&](std::vector<std::string> arguments, int status, const std::string& part) {
    const ToolResult result = runTool(std::move(arguments));
    EXPECT_EQ(result.status, status) << result.output;
    EXPECT_NE(result.errors.find(part), std::string::npos) << result.errors;
  };
  refused(train("run", {"--hidden", "8"}), 2, "--hidden is an option of the network mlp");
  refused(train("run", {"--network", runs_.path("absent.net")}), 2, "absent.net");
  writeFile(network_, "input 6x6x1\ndnse 4\n");
  refused(train("run"), 1, "tiny.net:2:1: expected a layer");
  writeFile(network_, "input 6x6x1\ndense 5\n");
  refused(train("run"), 2, "there are 4 classes");
  EXPECT_FALSE(std::filesystem::exists(runs_.path("run")));
}

TEST_F(Network, ExplainsItsTrainingStep) {
  const ToolResult result = runTool({"explain", "--network", network_, "--json"});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_NE(result.output.find("CNNConvolution"), std::string::npos) << result.output;
}

TEST_F(Network, GraphsAreListedAndDrawn) {
  const std::string svg = runs_.path("graph.svg");
  const ToolResult result = runTool({"graph", "--network", network_, "--batch-size", "8", "--svg", svg});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_NE(result.output.find("CNNConvolutionNode \"convolution1\""), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("temporary images:"), std::string::npos) << result.output;
  const std::string drawing = readFile(svg);
  EXPECT_TRUE(drawing.starts_with("<svg "));
  for (const char* part : {"6x6x4", "3x3x4", "convolution1", "updates its parameters", "largest alive", "state"}) {
    EXPECT_NE(drawing.find(part), std::string::npos) << part;
  }

  const ToolResult json = runTool({"graph", "--network", network_, "--json"});
  ASSERT_EQ(json.status, 0) << json.errors;
  const auto lines = TinyRuns::timeless(json.output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_GT(lines[1].at("steps").size(), lines[0].at("steps").size());
  EXPECT_GT(lines[1].at("temporary_bytes"), 0);
}

}  // namespace
}  // namespace metalloid
