#pragma once

#include "backends/candidate.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/reference/kernels.hpp"
#include "operations/operation.hpp"

#include <array>
#include <type_traits>

/// What executes each operation on the processor, from fastest to plain. The last is always the reference.
namespace metalloid::cpu {

template <class Operation>
void runReference(const Operation& operation, Context&) {
  reference::run(operation);
}

template <class Operation>
using Candidate = detail::Candidate<Operation, Context>;

template <class Operation>
inline constexpr Candidate<Operation> kReference{"reference", detail::acceptsAll<Operation, Context>,
                                                 runReference<Operation>};

/// The list for an operation; this one is for those that have no implementation of their own.
template <class Operation>
inline constexpr std::array kCandidates{kReference<Operation>};

}  // namespace metalloid::cpu
