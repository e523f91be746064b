#pragma once

#include "formats/file_writer.hpp"

#include <filesystem>
#include <string>

namespace metalloid::training {

/// Writes a directory of files, entirely or not at all: the files go to a temporary sibling, which commit() flushes and
/// renames. Destroyed without commit(), it removes the temporary; whatever had the name before stays as it was.
class AtomicDirectory {
 public:
  /// `what` names the content in messages, for instance "checkpoint 300".
  AtomicDirectory(std::filesystem::path path, std::string what);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  /// A writer for a file in the directory; its messages name the final path. finish() it before commit().
  formats::FileWriter file(const std::string& name, std::string what) const;

  /// Gives the directory its name, in place of a former one. Throws an Error when the system refuses.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::string what_;
  bool committed_ = false;
};

/// Removes a directory so that no observer, not even after a crash, sees half of it under its name.
void removeDirectoryAtomically(const std::filesystem::path& path);

}  // namespace metalloid::training
