#pragma once

#include <chrono>
#include <string_view>

namespace metalloid::detail {

struct Record;

/// Times one operation for the Chrome trace that METALLOID_TRACE=FILE asks for; costs nothing without it.
///
/// The file can be opened in chrome://tracing or Perfetto.
class TraceSpan {
 public:
  TraceSpan(const Record& record, std::string_view device);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  const Record* record_;  // nil: no trace is wanted
  std::string_view device_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace metalloid::detail
