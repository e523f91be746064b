#include "tool/tool_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace metalloid::testing {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void startTool(const std::vector<std::string>& arguments, const ToolProcess::Options& options) {
  if (options.fileSizeLimit) {
    const rlimit limit{*options.fileSizeLimit, *options.fileSizeLimit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(126);
  std::vector<char*> argv{const_cast<char*>(METALLOID_TOOL)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(METALLOID_TOOL, argv.data());
  ::_exit(127);
}

void closeIfOpen(int& descriptor) {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

}  // namespace

ToolProcess::ToolProcess(const std::vector<std::string>& arguments, const Options& options) {
  if (options.output == Output::terminal) {
    winsize size{};
    size.ws_col = 100;
    size.ws_row = 24;
    process_ = ::forkpty(&output_, nullptr, nullptr, &size);
    if (process_ == 0) {
      ::setenv("TERM", "xterm", 1);
      startTool(arguments, options);
    }
    if (process_ < 0) throw std::runtime_error("forkpty failed");
    return;
  }
  std::array<int, 2> output{};
  std::array<int, 2> errors{};
  if (::pipe2(output.data(), O_CLOEXEC) != 0 || ::pipe2(errors.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe2 failed");
  }
  process_ = ::fork();
  if (process_ == 0) {
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(errors[1], STDERR_FILENO);
    startTool(arguments, options);
  }
  ::close(output[1]);
  ::close(errors[1]);
  output_ = output[0];
  errors_ = errors[0];
  if (process_ < 0) throw std::runtime_error("fork failed");
}

ToolProcess::~ToolProcess() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  closeIfOpen(output_);
  closeIfOpen(errors_);
}

void ToolProcess::signal(int number) const { ::kill(process_, number); }

void ToolProcess::readSome(int timeoutMilliseconds) {
  std::array<pollfd, 2> sources{pollfd{output_, POLLIN, 0}, pollfd{errors_, POLLIN, 0}};
  if (::poll(sources.data(), sources.size(), timeoutMilliseconds) <= 0) return;
  const auto read = [](int& descriptor, short events, std::string& text) {
    if (descriptor < 0 || events == 0) return;
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(descriptor, bytes.data(), bytes.size());
    if (count > 0) {
      text.append(bytes.data(), static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {  // a terminal whose other side is gone answers EIO
      closeIfOpen(descriptor);
    }
  };
  read(output_, sources[0].revents, result_.output);
  read(errors_, sources[1].revents, result_.errors);
}

bool ToolProcess::waitFor(const std::string& text) {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (result_.output.find(text) == std::string::npos) {
    if (!isOpen() || Clock::now() > deadline) return false;
    readSome(100);
  }
  return true;
}

bool ToolProcess::endsWithin(std::chrono::milliseconds time) {
  const auto deadline = Clock::now() + time;
  while (isOpen()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    readSome(static_cast<int>(left));
  }
  return true;
}

ToolResult ToolProcess::finish() {
  if (!endsWithin(std::chrono::minutes(2))) ::kill(process_, SIGKILL);
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  result_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

ToolResult runTool(const std::vector<std::string>& arguments) { return ToolProcess(arguments).finish(); }

ToolResult runTool(const std::vector<std::string>& arguments, const ToolProcess::Options& options) {
  return ToolProcess(arguments, options).finish();
}

}  // namespace metalloid::testing
