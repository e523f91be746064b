#pragma once

#include <metalloid/device.hpp>
#include <metalloid/geometry.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace metalloid::detail {

/// Throws Error (malformedFile) for a decoded value that the class does not allow.
[[noreturn]] void refuseSetting(std::string_view className, std::string_view setting, std::string_view why);

/// Sees every setting of a kernel in turn: archives, equality, hash and description are visitors.
class SettingsVisitor {
 public:
  virtual ~SettingsVisitor() = default;

  virtual void visit(std::string_view name, bool& value) = 0;
  virtual void visit(std::string_view name, std::uint64_t& value) = 0;
  virtual void visit(std::string_view name, float& value) = 0;
  virtual void visit(std::string_view name, double& value) = 0;
  virtual void visit(std::string_view name, std::string& value) = 0;
  virtual void visit(std::string_view name, std::vector<float>& value) = 0;

  void visit(std::string_view name, Origin& origin) {
    const std::string prefix(name);
    visit(prefix + ".x", origin.x);
    visit(prefix + ".y", origin.y);
    visit(prefix + ".z", origin.z);
  }

  void visit(std::string_view name, Region& region) {
    const std::string prefix(name);
    visit(prefix + ".origin", region.origin);
    visit(prefix + ".width", region.size.width);
    visit(prefix + ".height", region.size.height);
    visit(prefix + ".depth", region.size.depth);
  }

  /// Enumerations travel as integers; the class that owns one checks its range in `visitSettings`.
  template <class E>
  requires std::is_enum_v<E>
  void visit(std::string_view name, E& value) {
    const auto before = static_cast<std::uint64_t>(value);
    auto number = before;
    visit(name, number);
    if (number == before) return;
    value = static_cast<E>(number);
    if (static_cast<std::uint64_t>(value) != number) refuseSetting("kernel", name, "the number is none of its values.");
  }
};

}  // namespace metalloid::detail
