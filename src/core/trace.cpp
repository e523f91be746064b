#include "core/trace.hpp"

#include "core/command_buffer_implementation.hpp"
#include "core/format.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>

namespace metalloid::detail {
namespace {

/// The trace file, open from the first use to the end of the process; null when none is wanted or it cannot be written.
struct TraceFile {
  TraceFile() {
    if (const char* path = std::getenv("METALLOID_TRACE"); path && *path) file = std::fopen(path, "w");
    if (file) std::fputs("[\n", file);  // readers accept the missing end of the array
  }

  static TraceFile& shared() {
    static auto* const trace = new TraceFile;
    return *trace;
  }

  std::FILE* file = nullptr;
  std::mutex mutex;
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result;
}

}  // namespace

TraceSpan::TraceSpan(const Record& record, std::string_view device)
    : record_(TraceFile::shared().file ? &record : nullptr), device_(device) {
  if (record_) begin_ = std::chrono::steady_clock::now();
}

TraceSpan::~TraceSpan() {
  if (!record_) return;
  const auto end = std::chrono::steady_clock::now();
  auto& trace = TraceFile::shared();
  using Microseconds = std::chrono::duration<double, std::micro>;
  try {
    const char* const operation = std::visit([](const auto& o) { return o.kName; }, record_->operation);
    const std::string kernel = escaped(record_->kernel), device = escaped(device_);
    std::scoped_lock lock(trace.mutex);
    std::fprintf(trace.file,
                 "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":\"%s\",\"tid\":1,\"ts\":%.3f,\"dur\":%.3f},\n",
                 kernel.c_str(), operation, device.c_str(), Microseconds(begin_ - trace.start).count(),
                 Microseconds(end - begin_).count());
    std::fflush(trace.file);
  } catch (const std::exception&) {  // a line of the trace is missing then; the work it was about goes on
  }
}

}  // namespace metalloid::detail
