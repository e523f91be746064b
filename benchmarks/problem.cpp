#include "problem.hpp"

#include "core/format.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include <metalloid/error.hpp>

namespace benchmark_program {
namespace {

using metalloid::Error;
using metalloid::ErrorCode;

/// "128x784x512" or "784-512-10" as numbers; empty when it is something else.
std::vector<std::size_t> sizesOf(const std::string& word) {
  std::vector<std::size_t> sizes;
  const char* at = word.data();
  const char* const end = word.data() + word.size();
  while (at != end) {
    std::size_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    if (error != std::errc{} || (next != end && *next != 'x' && *next != '-')) return {};
    sizes.push_back(size);
    at = next == end ? end : next + 1;
  }
  return sizes;
}

}  // namespace

bool Problem::has(const std::string& word) const { return std::ranges::find(words, word) != words.end(); }

std::size_t Problem::number(const std::string& name, std::size_t absent) const {
  for (const std::string& word : words) {
    if (word.starts_with(name + "=")) return std::stoul(word.substr(name.size() + 1));
  }
  return absent;
}

void Problem::requireSizes(std::size_t count) const {
  if (sizes.size() == count && std::ranges::find(sizes, std::size_t{0}) == sizes.end()) return;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The problem \"{}\" needs {} sizes above 0, such as 128x784x512.", line, count));
}

std::unique_ptr<Problem> parseProblem(const std::string& line) {
  std::istringstream stream(line.substr(0, line.find('#')));
  auto problem = std::make_unique<Problem>();
  if (!(stream >> problem->operation)) return nullptr;
  problem->line = problem->operation;
  for (std::string word; stream >> word;) {
    problem->line += " " + word;
    auto sizes = sizesOf(word);
    if (!sizes.empty() && problem->sizes.empty()) {
      problem->sizes = std::move(sizes);
    } else {
      problem->words.push_back(word);
    }
  }
  if (problem->sizes.empty()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The problem \"{}\" has no sizes, such as 128x784x512.", line));
  }
  return problem;
}

std::vector<Problem> readProblems(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::invalidArgument, fmt::format("The problem file \"{}\" cannot be read.", path));
  std::vector<Problem> problems;
  for (std::string line; std::getline(file, line);) {
    if (const auto problem = parseProblem(line)) problems.push_back(*problem);
  }
  return problems;
}

}  // namespace benchmark_program
