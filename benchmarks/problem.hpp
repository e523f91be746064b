#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace benchmark_program {

/// One line of a problem file: an operation, its sizes, and words that vary it.
///
///     fully_connected 128x784x512 float32
///     neuron_gradient 16384x4096 geLU
///
/// Words for every operation: float16 and bfloat16, `reduced` (permits products in less than float32), `cold` (see
/// main.cpp). The words peers=... and aim=... are for the scripts in peers/.
struct Problem {
  std::string line;
  std::string operation;
  std::vector<std::size_t> sizes;
  std::vector<std::string> words;

  bool has(const std::string& word) const;

  /// The number of a word such as kernel=3; `absent` without one.
  std::size_t number(const std::string& name, std::size_t absent) const;

  /// @throws metalloid::Error when the problem has not this many sizes.
  void requireSizes(std::size_t count) const;
};

/// The problem of a line; nothing for an empty line or a comment (#). @throws metalloid::Error for anything else.
std::unique_ptr<Problem> parseProblem(const std::string& line);

/// The problems of a file.
std::vector<Problem> readProblems(const std::string& path);

}  // namespace benchmark_program
