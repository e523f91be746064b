#include "core/archive_fields.hpp"
#include "core/format.hpp"
#include "core/settings_visitor.hpp"

#include <metalloid/archive.hpp>
#include <metalloid/error.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix_kernel.hpp>

#include <bit>
#include <functional>
#include <ostream>
#include <utility>

namespace metalloid {
namespace {

/// Writes "name value" pairs; exact for every number, so that two kernels are equal when their texts are.
class SettingsText final : public detail::SettingsVisitor {
 public:
  void visit(std::string_view name, bool& value) override { add(name, value ? "true" : "false"); }
  void visit(std::string_view name, std::uint64_t& value) override {
    add(name, value == all ? std::string("all") : fmt::format("{}", value));
  }
  void visit(std::string_view name, float& value) override { add(name, fmt::format("{}", value)); }
  void visit(std::string_view name, double& value) override { add(name, fmt::format("{}", value)); }
  void visit(std::string_view name, std::string& value) override {
    add(name, fmt::format("{}:\"{}\"", value.size(), value));
  }
  void visit(std::string_view name, std::vector<float>& value) override {
    add(name, fmt::format("[{}]", fmt::join(value, " ")));
  }
  using SettingsVisitor::visit;

  const std::string& text() const { return text_; }

 private:
  void add(std::string_view name, std::string_view value) {
    if (!text_.empty()) text_ += ", ";
    text_.append(name).append(" ").append(value);
  }
  std::string text_;
};

}  // namespace

Kernel::Kernel(const Device& device, std::string_view className) : device_(device), className_(className) {
  if (!device) throw Error(ErrorCode::invalidArgument, fmt::format("The device of a {} is nil.", className));
}

void Kernel::visitSettings(detail::SettingsVisitor& visitor) {
  visitor.visit("label", label);
  visitor.visit("options", options);
}

void Kernel::visitConst(detail::SettingsVisitor& visitor) const {
  const_cast<Kernel*>(this)->visitSettings(visitor);  // the visitors used here only read
}

void Kernel::encode(Archiver& archiver) const {
  detail::SettingsWriter writer(archiver, className_);
  visitConst(writer);
  writer.finish();
}

void Kernel::decode(Unarchiver& coder) {
  detail::SettingsReader reader(coder, className_);
  visitSettings(reader);
  reader.finish();
}

std::string Kernel::name() const {
  return label.empty() ? std::string(className_) : fmt::format("{} \"{}\"", className_, label);
}

std::string Kernel::description() const {
  SettingsText settings;
  visitConst(settings);
  return fmt::format("{} on {}: {}", className_, device_.name(), settings.text());
}

bool Kernel::isEqual(const Kernel& other) const {
  return device_ == other.device_ && className_ == other.className_ && description() == other.description();
}

std::size_t Kernel::hash() const { return std::hash<std::string>()(description()); }

std::ostream& operator<<(std::ostream& stream, const Kernel& kernel) { return stream << kernel.description(); }

void MatrixUnaryKernel::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("sourceMatrixOrigin", sourceMatrixOrigin);
  visitor.visit("resultMatrixOrigin", resultMatrixOrigin);
  visitor.visit("batchStart", batchStart);
  visitor.visit("batchSize", batchSize);
}

void MatrixBinaryKernel::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("primarySourceMatrixOrigin", primarySourceMatrixOrigin);
  visitor.visit("secondarySourceMatrixOrigin", secondarySourceMatrixOrigin);
  visitor.visit("resultMatrixOrigin", resultMatrixOrigin);
  visitor.visit("batchStart", batchStart);
  visitor.visit("batchSize", batchSize);
}

}  // namespace metalloid
