#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace metalloid::formats {

/// Parses JSON from an untrusted file. Invalid text, text after the value, an object with the same key twice and
/// nesting beyond `maxDepth` (1: an object of plain values) throw a `malformedFile` Error that starts with `title`.
nlohmann::json parseJson(std::string_view text, const std::string& title, std::size_t maxDepth);

/// Compact text of a value. Strings that are no UTF-8 get replacement characters instead of an exception.
std::string dumpJson(const nlohmann::json& value, int indent = -1);

}  // namespace metalloid::formats
