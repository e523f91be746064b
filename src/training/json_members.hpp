#pragma once

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <concepts>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace metalloid::training {

/// Takes members out of a JSON object that comes from a file. A missing member and one of another type or out of range
/// are `malformedFile` Errors that name the member after `title`.
class JsonMembers {
 public:
  JsonMembers(const nlohmann::json& object, std::string title) : object_(object), title_(std::move(title)) {
    if (!object.is_object()) fail("is no JSON object");
  }

  bool has(const char* key) const { return object_.contains(key); }

  const nlohmann::json& any(const char* key) const {
    const auto member = object_.find(key);
    if (member == object_.end()) fail(fmt::format("has no member \"{}\"", key));
    return *member;
  }

  void get(const char* key, bool& value) const {
    const auto& member = any(key);
    if (!member.is_boolean()) fail(fmt::format("has a member \"{}\" that is neither true nor false", key));
    value = member.get<bool>();
  }

  template <std::unsigned_integral T>
  void get(const char* key, T& value) const {
    value = unsignedNumber<T>(key, any(key));
  }

  template <std::floating_point T>
  void get(const char* key, T& value) const {
    const auto& member = any(key);
    if (!member.is_number()) fail(fmt::format("has a member \"{}\" that is no number", key));
    value = static_cast<T>(member.get<double>());
  }

  void get(const char* key, std::string& value) const {
    const auto& member = any(key);
    if (!member.is_string()) fail(fmt::format("has a member \"{}\" that is no string", key));
    value = member.get<std::string>();
  }

  void get(const char* key, std::vector<std::string>& values) const {
    values.clear();
    for (const auto& member : list(key)) {
      if (!member.is_string()) fail(fmt::format("has a member \"{}\" that does not hold strings only", key));
      values.push_back(member.get<std::string>());
    }
  }

  template <std::unsigned_integral T>
  void get(const char* key, std::vector<T>& values) const {
    values.clear();
    for (const auto& member : list(key)) values.push_back(unsignedNumber<T>(key, member));
  }

  /// The members of an object in this one.
  JsonMembers object(const char* key) const { return JsonMembers(any(key), fmt::format("{}, \"{}\",", title_, key)); }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::malformedFile, fmt::format("{} {}.", title_, what));
  }

 private:
  const nlohmann::json& list(const char* key) const {
    const auto& member = any(key);
    if (!member.is_array()) fail(fmt::format("has a member \"{}\" that is no list", key));
    return member;
  }

  template <std::unsigned_integral T>
  T unsignedNumber(const char* key, const nlohmann::json& member) const {
    if (!member.is_number_unsigned() || member.get<std::uint64_t>() > std::numeric_limits<T>::max()) {
      fail(fmt::format("has a member \"{}\" that is no whole number of its range", key));
    }
    return static_cast<T>(member.get<std::uint64_t>());
  }

  const nlohmann::json& object_;
  std::string title_;
};

}  // namespace metalloid::training
