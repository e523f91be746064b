// A run that is stopped, killed or starved of disk, and goes on, ends with the bits of one that was left alone.

#include "tool/tiny_run.hpp"

#include <csignal>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using namespace testing;
namespace fs = std::filesystem;

const std::vector<std::string> kLongRun{"--epochs", "40", "--checkpoint-every", "7", "--validation-split", "0.1"};

void expectSameRun(const TinyRuns& runs, const std::string& a, const std::string& b) {
  EXPECT_EQ(runs.weights(a), runs.weights(b));
  EXPECT_EQ(runs.metrics(a), runs.metrics(b));
}

TEST(Resume, AfterBeingKilledAtManyMoments) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("whole", kLongRun)).status, 0);

  // Kills come after ever longer times, from before the run's directory exists to close to the end.
  int kills = 0;
  for (int milliseconds = 3;; milliseconds += 4) {
    const bool begun = fs::exists(runs.path("killed") + "/run.json");
    ToolProcess tool(begun ? std::vector<std::string>{"train", "--resume", runs.path("killed")}
                           : runs.train("killed", kLongRun));
    if (tool.endsWithin(std::chrono::milliseconds(milliseconds))) {
      const ToolResult result = tool.finish();
      ASSERT_EQ(result.status, 0) << result.errors;
      break;
    }
    tool.signal(SIGKILL);
    tool.finish();
    ++kills;
  }
  EXPECT_GE(kills, 3);
  expectSameRun(runs, "whole", "killed");
  // Nothing half-written stays behind.
  for (const auto& entry : fs::recursive_directory_iterator(runs.path("killed"))) {
    EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos) << entry.path();
  }
}

TEST(Resume, EveryOptimizerKeepsItsState) {
  const TinyRuns runs;
  for (const std::vector<std::string>& optimizer :
       {std::vector<std::string>{"--optimizer", "sgd"}, std::vector<std::string>{"--optimizer", "rmsprop"},
        std::vector<std::string>{"--amsgrad"}}) {
    std::vector<std::string> options = kLongRun;
    options[1] = "12";
    options.insert(options.end(), optimizer.begin(), optimizer.end());
    const std::string name = optimizer.back();
    ASSERT_EQ(runTool(runs.train(name + "-whole", options)).status, 0);
    ToolProcess tool(runs.train(name + "-killed", options));
    ASSERT_TRUE(tool.waitFor("epoch  3/12")) << tool.finish().output;
    tool.signal(SIGKILL);
    tool.finish();
    const ToolResult result = runTool({"train", "--resume", runs.path(name + "-killed")});
    ASSERT_EQ(result.status, 0) << result.errors;
    expectSameRun(runs, name + "-whole", name + "-killed");
  }
}

TEST(Resume, AfterASignalThatAsksToStop) {
  const TinyRuns runs;
  std::vector<std::string> options = kLongRun;
  options[1] = "60";
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string name = "stopped" + std::to_string(signal);
    ToolProcess tool(runs.train(name, options));
    ASSERT_TRUE(tool.waitFor("epoch  1/60"));
    tool.signal(signal);
    const ToolResult stopped = tool.finish();
    EXPECT_EQ(stopped.status, 1);
    EXPECT_NE(stopped.errors.find("--resume " + runs.path(name)), std::string::npos) << stopped.errors;
    EXPECT_FALSE(fs::is_empty(runs.path(name) + "/checkpoints"));
    const ToolResult result = runTool({"train", "--resume", runs.path(name), "--json", "--threads", "2"});
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  ASSERT_EQ(runTool(runs.train("whole", options)).status, 0);
  expectSameRun(runs, "whole", "stopped" + std::to_string(SIGINT));
  expectSameRun(runs, "whole", "stopped" + std::to_string(SIGTERM));
}

TEST(Resume, OfACompleteRunChangesNothing) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  const std::string weights = runs.weights("run");
  const std::string metrics = readFile(runs.path("run") + "/metrics.jsonl");
  const ToolResult result = runTool({"train", "--resume", runs.path("run"), "--json"});
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(TinyRuns::timeless(result.output).back().at("final"), true);
  EXPECT_EQ(runs.weights("run"), weights);
  EXPECT_EQ(readFile(runs.path("run") + "/metrics.jsonl"), metrics);
}

TEST(Resume, PassesOverADamagedCheckpoint) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("whole", kLongRun)).status, 0);
  ToolProcess tool(runs.train("run", kLongRun));
  ASSERT_TRUE(tool.waitFor("epoch  5/40"));
  tool.signal(SIGTERM);
  tool.finish();
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(runs.path("run") + "/checkpoints")) {
    newest = std::max(newest, entry.path());
  }
  fs::resize_file(newest / "tensors.safetensors", 100);
  const ToolResult result = runTool({"train", "--resume", runs.path("run")});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_NE(result.output.find(newest.filename().string()), std::string::npos) << result.output;
  expectSameRun(runs, "whole", "run");
}

TEST(Resume, RefusesOtherImages) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("run")).status, 0);
  writeTinyDataset(runs.path("other"), 204, 61);
  const ToolResult result = runTool({"train", "--resume", runs.path("run"), "--data", runs.path("other")});
  EXPECT_NE(result.status, 0);
  EXPECT_NE(result.errors.find("other images"), std::string::npos) << result.errors;
}

TEST(Resume, AFullDiskLeavesTheFormerCheckpoint) {
  const TinyRuns runs;
  ASSERT_EQ(runTool(runs.train("whole", kLongRun)).status, 0);
  ToolProcess tool(runs.train("run", kLongRun));
  ASSERT_TRUE(tool.waitFor("epoch  3/40"));
  tool.signal(SIGTERM);
  tool.finish();
  // Room for a line of metrics and a state, but not for the tensors of a checkpoint.
  const ToolResult full = runTool({"train", "--resume", runs.path("run")},
                                  {.output = Output::pipe, .fileSizeLimit = 6000, .directory = {}});
  EXPECT_EQ(full.status, 1) << full.output;
  EXPECT_NE(full.errors.find("metalloid: "), std::string::npos) << full.errors;
  EXPECT_NE(full.errors.find("checkpoint"), std::string::npos) << full.errors;
  const ToolResult result = runTool({"train", "--resume", runs.path("run")});
  ASSERT_EQ(result.status, 0) << result.errors;
  expectSameRun(runs, "whole", "run");
}

TEST(Resume, OneProcessAtATime) {
  const TinyRuns runs;
  std::vector<std::string> options = kLongRun;
  options[1] = "100000";
  ToolProcess tool(runs.train("run", options));
  ASSERT_TRUE(tool.waitFor("epoch"));
  const ToolResult second = runTool({"train", "--resume", runs.path("run")});
  EXPECT_NE(second.status, 0);
  EXPECT_NE(second.errors.find("Another process"), std::string::npos) << second.errors;
  tool.signal(SIGTERM);
  EXPECT_EQ(tool.finish().status, 1);
}

}  // namespace
}  // namespace metalloid
