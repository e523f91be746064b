#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace metalloid::testing {

/// How a run of the tool ended.
struct ToolResult {
  int status = -1;  ///< Exit status; 128 + the signal's number for a process that a signal has ended.
  std::string output;
  std::string errors;  ///< Empty on a terminal, where both go to the output.
};

/// Where the tool's output goes.
enum class Output { pipe, terminal };

/// The tool that this build has made, running.
class ToolProcess {
 public:
  struct Options {
    Output output = Output::pipe;
    std::optional<std::size_t> fileSizeLimit;  ///< No file can grow beyond it, as on a full disk.
    std::string directory;                     ///< To start in; empty: this process's.
  };

  explicit ToolProcess(const std::vector<std::string>& arguments) : ToolProcess(arguments, Options{}) {}
  ToolProcess(const std::vector<std::string>& arguments, const Options& options);
  ~ToolProcess();
  ToolProcess(const ToolProcess&) = delete;
  ToolProcess& operator=(const ToolProcess&) = delete;

  /// Reads until the output holds `text`; false when it ends without, or ten seconds pass.
  bool waitFor(const std::string& text);

  void signal(int number) const;

  /// Waits for its end, at most two minutes.
  ToolResult finish();

  /// Waits for its end for this long; returns whether it has ended.
  bool endsWithin(std::chrono::milliseconds time);

 private:
  void readSome(int timeoutMilliseconds);
  bool isOpen() const { return output_ >= 0 || errors_ >= 0; }

  pid_t process_ = -1;
  int output_ = -1;
  int errors_ = -1;
  ToolResult result_;
};

/// Runs the tool to its end.
ToolResult runTool(const std::vector<std::string>& arguments);
ToolResult runTool(const std::vector<std::string>& arguments, const ToolProcess::Options& options);

}  // namespace metalloid::testing
