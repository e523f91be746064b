// What environment variables turn on is read once in a process: each of these tests runs its body in a new one.

#include "formats/temporary_directory.hpp"
#include "support/devices.hpp"

#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace metalloid {
namespace {

/// Two kernels, one of them with a label that needs escaping.
void work(const char* deviceName) {
  const Device device = Device::named(deviceName);
  const Matrix matrix(device, {.rows = 8, .columns = 8}), result(device, {.rows = 8, .columns = 8});
  testing::execute(device, [&](CommandBuffer& commands) {
    MatrixNeuron kernel(device);
    kernel.label = "a \"quoted\\\" name\n";
    kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
    MatrixFullyConnected(device).encode(commands,
                                        {.inputMatrix = matrix, .weightMatrix = matrix, .resultMatrix = result});
  });
}

class EnvironmentTest : public ::testing::Test {
 protected:
  EnvironmentTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }  // a new process, not a fork of this one
  void SetUp() override {
    // The new process runs this too; it inherits the directory of the old one.
    if (const char* path = std::getenv("METALLOID_TEST_DIRECTORY")) {
      path_ = path;
    } else {
      directory_.emplace();
      path_ = directory_->path().string();
      ::setenv("METALLOID_TEST_DIRECTORY", path_.c_str(), 1);
      owns_ = true;
    }
  }
  void TearDown() override {
    for (const char* name : {"METALLOID_TRACE", "METALLOID_LOG", "METALLOID_THREADS", "MPS_LOG_INFO"}) ::unsetenv(name);
    if (owns_) ::unsetenv("METALLOID_TEST_DIRECTORY");
  }

  std::string path_;

 private:
  std::optional<testing::TemporaryDirectory> directory_;
  bool owns_ = false;
};

TEST_F(EnvironmentTest, ATraceIsWrittenForAViewer) {
  const std::string file = path_ + "/trace.json";
  ::setenv("METALLOID_TRACE", file.c_str(), 1);
  EXPECT_EXIT(
      {
        work("cpu");
        work("reference");
        std::_Exit(0);  // as after a crash: what has been written must be enough
      },
      ::testing::ExitedWithCode(0), "");

  std::string text = testing::readFile(file);
  ASSERT_FALSE(text.empty());
  // Viewers accept an array without its end; a JSON parser does not.
  const std::size_t comma = text.rfind(',');
  ASSERT_NE(comma, std::string::npos) << text;
  text.replace(comma, std::string::npos, "]");
  const auto events = nlohmann::json::parse(text);
  ASSERT_EQ(events.size(), 4u);
  double previousEnd = 0;
  for (const auto& event : events) {
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_GE(event.at("ts").get<double>(), previousEnd) << "One queue at a time, one operation after another.";
    EXPECT_GE(event.at("dur").get<double>(), 0);
    previousEnd = event.at("ts").get<double>();
    EXPECT_TRUE(event.contains("tid"));
  }
  EXPECT_EQ(events[0].at("name"), "MatrixNeuron \"a \"quoted\\\" name \"");
  EXPECT_EQ(events[0].at("cat"), "MatrixNeuron");
  EXPECT_EQ(events[1].at("cat"), "MatrixFullyConnected");
  EXPECT_NE(events[1].at("pid"), events[2].at("pid")) << "Devices have rows of their own.";
}

TEST_F(EnvironmentTest, ATraceThatCannotBeWrittenChangesNothing) {
  ::setenv("METALLOID_TRACE", (path_ + "/no such directory/trace.json").c_str(), 1);
  EXPECT_EXIT(
      {
        work("cpu");
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(EnvironmentTest, TheLogExplainsChoices) {
  ::setenv("METALLOID_LOG", "1", 1);
  EXPECT_EXIT(
      {
        work("cpu");
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "MatrixNeuron \"a .*on cpu: .*\n.*MatrixFullyConnected.*float32.* on cpu: ");
}

TEST_F(EnvironmentTest, ApplesNameForTheLogWorksToo) {
  ::setenv("MPS_LOG_INFO", "1", 1);
  EXPECT_EXIT(
      {
        work("reference");
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "on reference: ");
}

TEST_F(EnvironmentTest, AnEmptyVariableIsNoVariable) {
  ::setenv("METALLOID_LOG", "", 1);
  ::setenv("MPS_LOG_INFO", "", 1);
  EXPECT_EXIT(
      {
        work("cpu");
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "^$");
}

TEST_F(EnvironmentTest, WithoutAVariableNothingIsWritten) {
  EXPECT_EXIT(
      {
        work("cpu");
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "^$");
}

void exitWithThreads() { std::_Exit(static_cast<int>(Device::named("cpu").numberOfThreads())); }

TEST_F(EnvironmentTest, TheNumberOfThreadsCanBeGiven) {
  ::setenv("METALLOID_THREADS", "3", 1);
  EXPECT_EXIT(exitWithThreads(), ::testing::ExitedWithCode(3), "");
}

TEST_F(EnvironmentTest, ANumberOfThreadsThatIsNoneIsIgnored) {
  const auto ownChoice = static_cast<int>(Device::named("cpu").numberOfThreads());
  for (const char* text : {"0", "-2", "many", "", "5x"}) {
    ::setenv("METALLOID_THREADS", text, 1);
    EXPECT_EXIT(exitWithThreads(), ::testing::ExitedWithCode(ownChoice), "") << text;
  }
}

}  // namespace
}  // namespace metalloid
