#include "training/run_directory.hpp"

#include "core/format.hpp"
#include "formats/file_error.hpp"
#include "formats/file_reader.hpp"
#include "formats/json_parser.hpp"
#include "training/atomic_directory.hpp"
#include "training/checkpoint_files.hpp"
#include "training/json_members.hpp"

#include <metalloid/error.hpp>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>

#include <fcntl.h>
#include <sys/file.h>

namespace metalloid::training {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaximumBytes = std::uint64_t{1} << 20;
constexpr std::size_t kMaximumDepth = 8;
constexpr std::uint64_t kFormatVersion = 1;

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

bool isThere(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The run's own lock goes with its file of options: whoever holds it writes to the run. The system lets go of it when
/// the process ends, however it ends.
formats::FileDescriptor lock(const fs::path& run) {
  const fs::path path = RunDirectory::options(run);
  formats::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) formats::throwFileError(fmt::format("File \"{}\" cannot be opened", path.string()), errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) refuse(fmt::format("Another process is at work in the run \"{}\".", run.string()));
    // Some network file systems have no locks; the run goes on without.
  }
  return file;
}

}  // namespace

void RunDirectory::requireUnused(const fs::path& path) {
  std::error_code error;
  if (!isThere(path)) return;
  if (isThere(options(path))) {
    refuse(
        fmt::format("The directory \"{0}\" holds a run already; go on with it by --resume \"{0}\", or give the new "
                    "run another directory.",
                    path.string()));
  }
  if (!fs::is_directory(path, error)) refuse(fmt::format("\"{}\" is no directory.", path.string()));
  if (!fs::is_empty(path, error)) {
    refuse(fmt::format("The directory \"{}\" is not empty, and what is in it is no run.", path.string()));
  }
}

RunDirectory RunDirectory::create(const fs::path& path, const TrainingOptions& trainingOptions) {
  requireUnused(path);
  AtomicDirectory directory(path, "the options of the run");
  auto file = directory.file(options(path).filename().string(), "the options of the run");
  file.write(
      formats::dumpJson(
          {{"version", kFormatVersion}, {"tool_version", METALLOID_VERSION}, {"options", toJson(trainingOptions)}}, 2) +
      "\n");
  file.finish();
  directory.commit();
  return {path, lock(path)};
}

RunDirectory RunDirectory::open(const fs::path& path) {
  readOptions(path);
  RunDirectory run(path, lock(path));
  removeUnfinishedWrites(path);
  return run;
}

TrainingOptions RunDirectory::readOptions(const fs::path& path) {
  const fs::path file = options(path);
  if (!isThere(file)) {
    refuse(fmt::format("There is no training run at \"{}\": it has no file \"{}\".", path.string(),
                       file.filename().string()));
  }
  const auto bytes = formats::readWholeFile(file, "file of a run's options", kMaximumBytes);
  const std::string title = fmt::format("The file \"{}\"", file.string());
  const auto json =
      formats::parseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, title, kMaximumDepth);
  const JsonMembers members(json, title);
  std::uint64_t version = 0;
  members.get("version", version);
  if (version != kFormatVersion) {
    members.fail(fmt::format("is of version {}, but this program reads version {}", version, kFormatVersion));
  }
  return trainingOptionsFromJson(members.any("options"), title);
}

fs::path RunDirectory::freshPath() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  const fs::path first = fs::path("runs") / fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(now));
  fs::path path = first;
  for (int number = 2; isThere(path); ++number) path = first.string() + fmt::format("-{}", number);
  return path;
}

}  // namespace metalloid::training
