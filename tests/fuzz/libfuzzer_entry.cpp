// For libFuzzer; METALLOID_FUZZ_TARGET names a function of parsers.hpp. From the root of the repository, for instance:
//
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -DMETALLOID_FUZZ_TARGET=idx -DFMT_HEADER_ONLY
//       -Iinclude -Isrc tests/fuzz/libfuzzer_entry.cpp tests/fuzz/parsers.cpp src/formats/*.cpp src/core/error.cpp
//       src/training/{atomic_directory,checkpoint_files,json_lines,layered_network,network_options,network_text}.cpp
//       src/math/{neuron,neuron_type}.cpp -lz -o fuzz-idx
//   ./fuzz-idx -max_total_time=60
//
// Without the name this file is empty; parsers_test.cpp runs the same functions without libFuzzer.

#ifdef METALLOID_FUZZ_TARGET

#include "parsers.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  metalloid::fuzz::METALLOID_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}

#endif
