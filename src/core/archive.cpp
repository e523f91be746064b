#include "core/archive_fields.hpp"
#include "core/format.hpp"
#include "core/settings_visitor.hpp"

#include <metalloid/archive.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <cstring>

namespace metalloid {
namespace {

constexpr std::string_view kMagic = "METALLOID-ARCHIVE-1\n";
constexpr std::size_t kChecksumBytes = 8;

// 64-bit FNV-1a: enough against damage, which is all a checksum is for.
std::uint64_t checksum(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  return hash;
}

void append(std::vector<std::byte>& bytes, const void* data, std::size_t count) {
  const auto* const first = static_cast<const std::byte*>(data);
  bytes.reserve(bytes.size() + count);
  for (std::size_t i = 0; i < count; ++i) bytes.push_back(first[i]);
}

void appendNumber(std::vector<std::byte>& bytes, std::uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<std::byte>(number >> shift));
}

std::uint64_t numberAt(const std::byte* bytes) {
  std::uint64_t number = 0;
  for (int i = 7; i >= 0; --i) number = number << 8 | static_cast<std::uint64_t>(bytes[i]);
  return number;
}

[[noreturn]] void refuse(std::string why) { throw Error(ErrorCode::malformedFile, std::move(why)); }

}  // namespace

Archiver::Archiver() { append(bytes_, kMagic.data(), kMagic.size()); }

std::vector<std::byte> Archiver::finish() const {
  std::vector<std::byte> archive = bytes_;
  appendNumber(archive, checksum(bytes_));
  return archive;
}

Unarchiver::Unarchiver(std::span<const std::byte> bytes) {
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    refuse(fmt::format("The {} bytes given are no Metalloid archive of version 1.", bytes.size()));
  }
  if (bytes.size() < kMagic.size() + kChecksumBytes) {
    refuse(fmt::format("The archive of {} bytes ends before its checksum.", bytes.size()));
  }
  const auto content = bytes.first(bytes.size() - kChecksumBytes);
  if (numberAt(bytes.data() + content.size()) != checksum(content)) {
    refuse(fmt::format("The archive of {} bytes is damaged or truncated: its checksum does not match.", bytes.size()));
  }
  bytes_.assign(content.begin() + static_cast<std::ptrdiff_t>(kMagic.size()), content.end());
}

std::string Unarchiver::nextClassName() const {
  if (atEnd()) return {};
  const std::size_t rest = bytes_.size() - position_;
  const std::uint64_t length = rest < 8 ? 0 : numberAt(bytes_.data() + position_);
  if (rest < 8 || length > rest - 8) refuse("The archive ends within the name of a class.");
  return {reinterpret_cast<const char*>(bytes_.data() + position_ + 8), length};
}

namespace detail {

void refuseSetting(std::string_view className, std::string_view setting, std::string_view why) {
  refuse(fmt::format("The archived {} holds a {} that is not allowed: {}", className, setting, why));
}

// One object is: its class name, the number of bytes of its fields, then per field its name, one byte of type, its
// value. Strings and arrays start with their count; numbers are 8 bytes, little-endian.

SettingsWriter::SettingsWriter(Archiver& archiver, std::string_view className)
    : bytes_(archiver.bytes_), className_(className) {}

SettingsWriter::~SettingsWriter() = default;

void SettingsWriter::finish() {
  appendNumber(bytes_, className_.size());
  append(bytes_, className_.data(), className_.size());
  appendNumber(bytes_, fields_.size());
  append(bytes_, fields_.data(), fields_.size());
}

void SettingsWriter::field(std::string_view name, char type) {
  appendNumber(fields_, name.size());
  append(fields_, name.data(), name.size());
  fields_.push_back(static_cast<std::byte>(type));
}

void SettingsWriter::visit(std::string_view name, bool& value) {
  field(name, 'b');
  appendNumber(fields_, value ? 1 : 0);
}
void SettingsWriter::visit(std::string_view name, std::uint64_t& value) {
  field(name, 'u');
  appendNumber(fields_, value);
}
void SettingsWriter::visit(std::string_view name, float& value) {
  field(name, 'f');
  appendNumber(fields_, std::bit_cast<std::uint32_t>(value));
}
void SettingsWriter::visit(std::string_view name, double& value) {
  field(name, 'd');
  appendNumber(fields_, std::bit_cast<std::uint64_t>(value));
}
void SettingsWriter::visit(std::string_view name, std::string& value) {
  field(name, 's');
  appendNumber(fields_, value.size());
  append(fields_, value.data(), value.size());
}
void SettingsWriter::visit(std::string_view name, std::vector<float>& value) {
  field(name, 'F');
  appendNumber(fields_, value.size());
  for (const float element : value) appendNumber(fields_, std::bit_cast<std::uint32_t>(element));
}

SettingsReader::SettingsReader(Unarchiver& unarchiver, std::string_view className)
    : bytes_(unarchiver.bytes_),
      position_(unarchiver.position_),
      end_(unarchiver.bytes_.size()),
      className_(className) {
  const std::string found = text();
  if (found != className) {
    refuse(fmt::format("The archive holds a {} where a {} was asked for.", found, className));
  }
  const std::uint64_t length = number();
  if (length > end_ - position_) refuse(fmt::format("The archived {} is truncated.", className_));
  end_ = position_ + length;
}

void SettingsReader::finish() {
  if (position_ != end_)
    refuse(fmt::format("The archived {} holds settings that this class does not have.", className_));
}

std::uint64_t SettingsReader::number() {
  if (end_ - position_ < 8) refuse(fmt::format("The archived {} is truncated.", className_));
  const std::uint64_t value = numberAt(bytes_.data() + position_);
  position_ += 8;
  return value;
}

std::string SettingsReader::text() {
  const std::uint64_t length = number();
  if (length > end_ - position_) refuse(fmt::format("The archived {} is truncated.", className_));
  std::string value(reinterpret_cast<const char*>(bytes_.data() + position_), length);
  position_ += length;
  return value;
}

void SettingsReader::field(std::string_view name, char type) {
  const std::string found = text();
  if (found != name || position_ == end_ || static_cast<char>(bytes_[position_]) != type) {
    refuse(fmt::format("The archived {} holds \"{}\" where \"{}\" was expected.", className_, found, name));
  }
  ++position_;
}

void SettingsReader::visit(std::string_view name, bool& value) {
  field(name, 'b');
  value = number() != 0;
}
void SettingsReader::visit(std::string_view name, std::uint64_t& value) {
  field(name, 'u');
  value = number();
}
void SettingsReader::visit(std::string_view name, float& value) {
  field(name, 'f');
  value = std::bit_cast<float>(static_cast<std::uint32_t>(number()));
}
void SettingsReader::visit(std::string_view name, double& value) {
  field(name, 'd');
  value = std::bit_cast<double>(number());
}
void SettingsReader::visit(std::string_view name, std::string& value) {
  field(name, 's');
  value = text();
}
void SettingsReader::visit(std::string_view name, std::vector<float>& value) {
  field(name, 'F');
  const std::uint64_t count = number();
  if (count > (end_ - position_) / 8) refuse(fmt::format("The archived {} is truncated.", className_));
  value.resize(count);
  for (float& element : value) element = std::bit_cast<float>(static_cast<std::uint32_t>(number()));
}

}  // namespace detail
}  // namespace metalloid
