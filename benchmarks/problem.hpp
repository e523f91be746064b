#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <metalloid/metalloid.hpp>

namespace benchmark_program {

/// One line of a problem file: an operation, its sizes, and words that vary it.
///
///     fully_connected 128x784x512 float32
///     neuron_gradient 16384x4096 geLU
struct Problem {
  std::string line;
  std::string operation;
  std::vector<std::size_t> sizes;
  std::vector<std::string> words;

  bool has(const std::string& word) const;
};

/// The problem of a line; nothing for an empty line or a comment (#). @throws metalloid::Error for anything else.
std::unique_ptr<Problem> parseProblem(const std::string& line);

/// The problems of a file.
std::vector<Problem> readProblems(const std::string& path);

/// A problem with its operands on a device, ready to be encoded again and again.
class Case {
 public:
  virtual ~Case() = default;

  /// Records the work once.
  virtual void encode(metalloid::CommandBuffer& commandBuffer) = 0;

  /// Compares the results, or samples of them, with the reference device; the largest error in units of what the
  /// arithmetic allows. Above 1 is wrong.
  virtual double check(metalloid::CommandQueue& queue) = 0;

  double operations = 0;  ///< Floating-point operations of one encode; 0: not a matter of arithmetic.
  double bytes = 0;       ///< Fewest bytes that one encode reads and writes; 0: not a matter of memory.
};

/// @throws metalloid::Error for an operation, a size or a word that is not known.
std::unique_ptr<Case> makeCase(const metalloid::Device& device, const Problem& problem);

}  // namespace benchmark_program
