#include "training/atomic_directory.hpp"

#include "core/format.hpp"
#include "formats/atomic_file.hpp"
#include "formats/file_error.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>

namespace metalloid::training {
namespace fs = std::filesystem;
using formats::throwFileError;

namespace {

/// Gives `from` the name `to`. A directory that has this name ends up under the name `from`; returns whether there was
/// one.
bool renameOrExchange(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return false;
  if (errno != ENOTEMPTY && errno != EEXIST) {
    throwFileError(fmt::format("Renaming \"{}\" to \"{}\" fails", from.string(), to.string()), errno);
  }
#ifdef RENAME_EXCHANGE
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return true;
#endif
  // File systems without the exchange leave a moment in which the name is absent, never one with half a directory.
  const fs::path aside = formats::temporarySibling(to);
  const bool movedAside = ::rename(to.c_str(), aside.c_str()) == 0;
  if (!movedAside || ::rename(from.c_str(), to.c_str()) != 0) {
    const int error = errno;
    if (movedAside) static_cast<void>(::rename(aside.c_str(), to.c_str()));
    throwFileError(fmt::format("Replacing \"{}\" by \"{}\" fails", to.string(), from.string()), error);
  }
  if (::rename(aside.c_str(), from.c_str()) != 0) {
    throwFileError(fmt::format("Renaming \"{}\" to \"{}\" fails", aside.string(), from.string()), errno);
  }
  return true;
}

}  // namespace

AtomicDirectory::AtomicDirectory(fs::path path, std::string what)
    : path_(std::move(path)), temporary_(formats::temporarySibling(path_)), what_(std::move(what)) {
  std::error_code error;
  fs::create_directories(temporary_, error);
  if (error) {
    throwFileError(fmt::format("Writing {} to \"{}\" fails when the directory is created", what_, path_.string()),
                   error.value());
  }
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

formats::FileWriter AtomicDirectory::file(const std::string& name, std::string what) const {
  return formats::FileWriter(temporary_ / name, std::move(what), path_ / name);
}

void AtomicDirectory::commit() {
  formats::syncDirectory(temporary_);
  bool replaced = false;
  try {
    replaced = renameOrExchange(temporary_, path_);
  } catch (const Error& error) {
    throw error.during(fmt::format("writing {} to \"{}\"", what_, path_.string()));
  }
  committed_ = true;
  formats::syncDirectory(temporary_.parent_path());
  if (replaced) {
    std::error_code ignored;  // a leftover that cannot be removed now is removed with those of killed runs
    fs::remove_all(temporary_, ignored);
  }
}

void removeDirectoryAtomically(const fs::path& path) {
  const fs::path aside = formats::temporarySibling(path);
  if (::rename(path.c_str(), aside.c_str()) != 0) {
    throwFileError(fmt::format("Removing \"{}\" fails", path.string()), errno);
  }
  std::error_code error;
  fs::remove_all(aside, error);
  if (error) throwFileError(fmt::format("Removing \"{}\" fails", aside.string()), error.value());
}

}  // namespace metalloid::training
