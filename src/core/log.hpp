#pragma once

namespace metalloid::detail {

class CommandBufferImplementation;

/// Whether METALLOID_LOG (or MPS_LOG_INFO, the name that Apple uses) asks for an account of choices on stderr.
bool logIsOn();

/// Writes which implementation will execute the last recorded operation, and why not a faster one, to stderr.
void logChoice(const CommandBufferImplementation& commandBuffer);

}  // namespace metalloid::detail
