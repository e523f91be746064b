#pragma once

#include "backends/cpu/thread_pool.hpp"
#include "operations/operation.hpp"

namespace metalloid::cpu {

/// What an implementation may use.
struct Context {
  ThreadPool& pool;
};

// One pair of functions for each implementation, in the file of the operation's name: `refuses` says in a few words why
// it does not take an operation, or returns nullptr; `run` executes it.

}  // namespace metalloid::cpu
