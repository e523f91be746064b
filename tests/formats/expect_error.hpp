#pragma once

#include <metalloid/error.hpp>

#include <functional>
#include <initializer_list>
#include <string>

#include <gtest/gtest.h>

namespace metalloid::testing {

/// Expects `action` to throw an Error of that code whose text holds every fragment.
inline void expectError(ErrorCode code, std::initializer_list<std::string> fragments,
                        const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(name(error.code()), name(code)) << error.what();
    for (const std::string& fragment : fragments) {
      EXPECT_NE(std::string(error.what()).find(fragment), std::string::npos)
          << "\"" << fragment << "\" is not in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "No Error was thrown.";
}

}  // namespace metalloid::testing
