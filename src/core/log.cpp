#include "core/log.hpp"

#include "core/command_buffer_implementation.hpp"
#include "core/format.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace metalloid::detail {

bool logIsOn() {
  const auto isSet = [](const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr && *value != '\0';
  };
  static const bool on = isSet("METALLOID_LOG") || isSet("MPS_LOG_INFO");
  return on;
}

void logChoice(const CommandBufferImplementation& commandBuffer) {
  const Record& record = commandBuffer.records().back();
  Explanation explanation;
  commandBuffer.device().explain(record.operation, explanation);
  std::string line = fmt::format("metalloid: {} {} on {}: {}", record.kernel, explanation.shape,
                                 commandBuffer.device().name(), explanation.implementation);
  for (const auto& refusal : explanation.refusals)
    line += fmt::format("; not {}: {}", refusal.implementation, refusal.reason);
  line += '\n';
  std::fputs(line.c_str(), stderr);
}

}  // namespace metalloid::detail
