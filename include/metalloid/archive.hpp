#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid {

namespace detail {
class SettingsReader;
class SettingsWriter;
}  // namespace detail

/// Collects kernels into bytes. Every configurable property travels, label and options included.
///
/// The format is Metalloid's own: a magic number and version, one named record per object, a checksum.
/// Source: NSKeyedArchiver as used with MPSKernel.
class Archiver {
 public:
  /// An empty archive.
  Archiver();

  /// The archive of all objects encoded so far, in their order.
  std::vector<std::byte> finish() const;

 private:
  friend class detail::SettingsWriter;
  std::vector<std::byte> bytes_;
};

/// Gives kernels back from an archive, in the order in which they were encoded. Source: MPSKeyedUnarchiver.
class Unarchiver {
 public:
  /// Checks the whole archive. @throws Error (malformedFile) when it is damaged, truncated or something else.
  explicit Unarchiver(std::span<const std::byte> bytes);

  /// Whether every object has been decoded.
  bool atEnd() const { return position_ == bytes_.size(); }

  /// The class of the object that comes next, such as CNNConvolution; empty at the end.
  /// @throws Error (malformedFile) when the archive is cut there.
  std::string nextClassName() const;

 private:
  friend class detail::SettingsReader;
  std::vector<std::byte> bytes_;  // the objects, without the archive's header and checksum
  std::size_t position_ = 0;
};

}  // namespace metalloid
