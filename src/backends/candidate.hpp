#pragma once

#include <metalloid/command_buffer.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace metalloid::detail {

/// One implementation of an operation. A back end lists its candidates from fastest to plain; the last accepts
/// everything.
template <class Operation, class Context>
struct Candidate {
  std::string_view name;
  const char* (*refuses)(const Operation&, const Context&);  // why not, in a few words; nullptr: accepts
  void (*run)(const Operation&, Context&);
};

/// For the last candidate of a list.
template <class Operation, class Context>
const char* acceptsAll(const Operation&, const Context&) {
  return nullptr;
}

/// The first candidate that accepts.
template <class Operation, class Context, std::size_t kCount>
const Candidate<Operation, Context>& choose(const std::array<Candidate<Operation, Context>, kCount>& candidates,
                                            const std::type_identity_t<Operation>& operation, const Context& context) {
  for (const auto& candidate : candidates) {
    if (!candidate.refuses(operation, context)) return candidate;
  }
  return candidates.back();
}

/// The same choice, with the reasons of those passed over.
template <class Operation, class Context, std::size_t kCount>
void explainChoice(const std::array<Candidate<Operation, Context>, kCount>& candidates,
                   const std::type_identity_t<Operation>& operation, const Context& context, Explanation& explanation) {
  for (const auto& candidate : candidates) {
    const char* const reason = candidate.refuses(operation, context);
    if (!reason) {
      explanation.implementation = candidate.name;
      return;
    }
    explanation.refusals.push_back({std::string(candidate.name), reason});
  }
}

}  // namespace metalloid::detail
