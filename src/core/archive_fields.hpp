#pragma once

#include "core/settings_visitor.hpp"

#include <metalloid/archive.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// Appends one object's settings to an archive.
class SettingsWriter final : public SettingsVisitor {
 public:
  SettingsWriter(Archiver& archiver, std::string_view className);
  ~SettingsWriter() override;

  void visit(std::string_view name, bool& value) override;
  void visit(std::string_view name, std::uint64_t& value) override;
  void visit(std::string_view name, float& value) override;
  void visit(std::string_view name, double& value) override;
  void visit(std::string_view name, std::string& value) override;
  void visit(std::string_view name, std::vector<float>& value) override;
  using SettingsVisitor::visit;

  /// Writes the object; without it nothing is archived.
  void finish();

 private:
  void field(std::string_view name, char type);

  std::vector<std::byte>& bytes_;
  std::vector<std::byte> fields_;
  std::string_view className_;
};

/// Reads the next object's settings from an archive; every mismatch throws Error (malformedFile).
class SettingsReader final : public SettingsVisitor {
 public:
  SettingsReader(Unarchiver& unarchiver, std::string_view className);

  void visit(std::string_view name, bool& value) override;
  void visit(std::string_view name, std::uint64_t& value) override;
  void visit(std::string_view name, float& value) override;
  void visit(std::string_view name, double& value) override;
  void visit(std::string_view name, std::string& value) override;
  void visit(std::string_view name, std::vector<float>& value) override;
  using SettingsVisitor::visit;

  /// Checks that every archived setting was asked for.
  void finish();

 private:
  std::uint64_t number();
  std::string text();
  void field(std::string_view name, char type);

  const std::vector<std::byte>& bytes_;
  std::size_t& position_;
  std::size_t end_;
  std::string_view className_;
};

}  // namespace metalloid::detail
