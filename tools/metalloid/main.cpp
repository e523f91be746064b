#include "command.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace {

enum ExitStatus { kSuccess = 0, kFailure = 1, kUsage = 2 };

/// Called where an exception ends the program, so that it throws none itself.
int fail(ExitStatus status, std::string_view sentence) noexcept {
  const bool isEnded = !sentence.empty() && std::string_view(".!?\n").find(sentence.back()) != std::string_view::npos;
  std::fprintf(stderr, "metalloid: %.*s%s\n", static_cast<int>(sentence.size()), sentence.data(), isEnded ? "" : ".");
  return status;
}

const CLI::App& chosen(const CLI::App& tool) {
  const auto subcommands = tool.get_subcommands();
  return subcommands.empty() ? tool : *subcommands.front();
}

int run(int argumentCount, char** arguments) {
  CLI::App tool(
      "Trains, evaluates and explains neural networks with the semantics of Metal Performance Shaders.\n"
      "Exit status: 0 success, 1 the job failed or a check did not hold, 2 the command line was wrong.",
      "metalloid");
  tool.set_version_flag("--version", "metalloid " METALLOID_VERSION);
  tool.require_subcommand(1);
  tool.option_defaults()->take_last();  // a script's own options, then those of whoever calls it
  std::vector<Command> commands;
  for (const auto add : {addTrainCommand, addEvaluateCommand, addPredictCommand, addDevicesCommand, addExplainCommand,
                         addGraphCommand, addGradcheckCommand}) {
    commands.push_back(add(tool));
  }
  try {
    tool.parse(argumentCount, arguments);
  } catch (const CLI::CallForVersion&) {
    fmt::print("{}\n", tool.version());
    return kSuccess;
  } catch (const CLI::Success&) {
    const CLI::App& app = chosen(tool);
    fmt::print("{}", app.help(&app == &tool ? "" : tool.get_name()));
    return kSuccess;
  } catch (const CLI::ParseError& error) {
    const std::string first = argumentCount > 1 ? arguments[1] : "";
    if (tool.get_subcommands().empty() && !first.empty() && first.front() != '-') {
      return fail(kUsage, fmt::format("There is no command \"{}\" (`metalloid --help` lists the commands)", first));
    }
    const std::string name = &chosen(tool) == &tool ? "metalloid" : "metalloid " + chosen(tool).get_name();
    return fail(kUsage, fmt::format("{} (`{} --help` lists the options)", error.what(), name));
  }
  for (const auto& command : commands) {
    if (command.app->parsed()) return command.action();
  }
  return kUsage;
}

}  // namespace

int main(int argumentCount, char** arguments) {
  // A pipe that nobody reads any more, and a file-size limit, are errors of a write like any other.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argumentCount, arguments);
  } catch (const UsageError& error) {
    return fail(kUsage, error.what());
  } catch (const metalloid::Error& error) {
    return fail(kFailure, error.what());
  } catch (const std::bad_alloc&) {
    return fail(kFailure, "There is not enough memory.");
  } catch (const std::exception& error) {
    return fail(kFailure, error.what());
  }
}
