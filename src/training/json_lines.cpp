#include "training/json_lines.hpp"

#include "core/format.hpp"
#include "formats/file_error.hpp"
#include "formats/file_reader.hpp"
#include "formats/json_parser.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace metalloid::training {
namespace fs = std::filesystem;
using formats::throwFileError;

namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 32;
constexpr std::size_t kMaxDepth = 16;

std::optional<std::uint64_t> stepOf(std::string_view line, const std::string& title) {
  const nlohmann::json object = formats::parseJson(line, title, kMaxDepth);
  if (!object.is_object()) throw Error(ErrorCode::malformedFile, fmt::format("{} is no JSON object.", title));
  const auto step = object.find("step");
  if (step == object.end()) return std::nullopt;
  if (!step->is_number_unsigned()) {
    throw Error(ErrorCode::malformedFile,
                fmt::format("{} has the step {}, which is no whole number.", title, formats::dumpJson(*step)));
  }
  return step->get<std::uint64_t>();
}

}  // namespace

JsonLinesWriter JsonLinesWriter::append(const fs::path& path) {
  formats::FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!file) throwFileError(fmt::format("File \"{}\" cannot be opened to append JSON lines", path.string()), errno);
  return {std::move(file), fmt::format("file \"{}\"", path.string())};
}

JsonLinesWriter JsonLinesWriter::standardOutput() {
  formats::FileDescriptor file(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
  if (!file) throwFileError("The standard output cannot be opened to write JSON lines", errno);
  return {std::move(file), "the standard output"};
}

void JsonLinesWriter::write(const nlohmann::json& object) {
  const std::string line = formats::dumpJson(object) + '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t count = ::write(file_.get(), rest.data(), rest.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      throwFileError(fmt::format("Writing a JSON line to {} fails: {} of its {} bytes are not written", name_,
                                 rest.size(), line.size()),
                     errno);
    }
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

void JsonLinesWriter::sync() {
  // Pipes, terminals and devices answer EINVAL or EROFS: there is nothing to wait for.
  if (::fsync(file_.get()) != 0 && errno != EINVAL && errno != EROFS) {
    throwFileError(fmt::format("Flushing {} fails", name_), errno);
  }
}

std::size_t truncateJsonLines(const fs::path& path, std::uint64_t step) {
  std::error_code error;
  if (!fs::exists(path, error)) return 0;
  const std::vector<std::byte> bytes = formats::readWholeFile(path, "JSON lines file", kMaxFileBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::size_t kept = 0;
  for (std::size_t number = 1; kept < text.size(); ++number) {
    const std::size_t end = text.find('\n', kept);
    if (end == std::string_view::npos) break;
    const auto lineStep =
        stepOf(text.substr(kept, end - kept), fmt::format("Line {} of \"{}\"", number, path.string()));
    if (lineStep && *lineStep > step) break;
    kept = end + 1;
  }
  if (kept == text.size()) return 0;
  const std::string_view removed = text.substr(kept);
  fs::resize_file(path, kept, error);
  if (error) {
    throwFileError(fmt::format("File \"{}\" of {} bytes cannot be cut to {} bytes", path.string(), text.size(), kept),
                   error.value());
  }
  return static_cast<std::size_t>(std::count(removed.begin(), removed.end(), '\n')) + (removed.back() == '\n' ? 0 : 1);
}

}  // namespace metalloid::training
