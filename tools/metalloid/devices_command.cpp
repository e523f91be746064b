#include "command.hpp"

#include "core/format.hpp"

#include <metalloid/device.hpp>

#include <memory>

#include <nlohmann/json.hpp>

using namespace metalloid;

Command addDevicesCommand(CLI::App& tool) {
  CLI::App* const app = tool.add_subcommand("devices", "List the devices of this machine, the best first");
  const auto json = std::make_shared<bool>(false);
  app->add_flag("--json", *json, "Print one JSON object per line");
  const auto action = [json] {
    for (const Device& device : Device::all()) {
      if (*json) {
        const nlohmann::json line{
            {"name", device.name()}, {"description", device.description()}, {"threads", device.numberOfThreads()}};
        fmt::print("{}\n", line.dump());
      } else {
        fmt::print("{:<12} {}\n", device.name(), device.description());
      }
    }
    return 0;
  };
  return {.app = app, .action = action};
}
