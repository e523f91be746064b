#pragma once

#include <metalloid/error.hpp>

#include <functional>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

/// The command line is wrong: exit status 2, where other failures have 1.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs `check`, whose Errors are mistakes on the command line.
template <class Check>
decltype(auto) asUsage(const Check& check) {
  try {
    return check();
  } catch (const metalloid::Error& error) {
    throw UsageError(std::string(error.message()));
  }
}

/// A subcommand of the tool: its options, and what it does once they are parsed. The action returns the exit status.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> action;
};

Command addTrainCommand(CLI::App& tool);
Command addEvaluateCommand(CLI::App& tool);
Command addPredictCommand(CLI::App& tool);
Command addDevicesCommand(CLI::App& tool);
Command addExplainCommand(CLI::App& tool);
Command addGraphCommand(CLI::App& tool);
Command addGradcheckCommand(CLI::App& tool);
