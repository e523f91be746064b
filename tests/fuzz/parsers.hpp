#pragma once

#include <cstddef>
#include <span>
#include <string>

// One function per parser of files. Each takes any bytes; the parser must accept them with a consistent result or throw
// a metalloid::Error. Anything else (another exception, a sanitizer's report, a failed check) ends the process.

namespace metalloid::fuzz {

void idx(std::span<const std::byte> bytes);
void safetensors(std::span<const std::byte> bytes);
void json(std::span<const std::byte> bytes);
void checkpointState(std::span<const std::byte> bytes);
/// The state.json that the tensors of checkpointState()'s checkpoint belong to.
std::string goodCheckpointState();

void jsonLines(std::span<const std::byte> bytes);
void network(std::span<const std::byte> bytes);

}  // namespace metalloid::fuzz
