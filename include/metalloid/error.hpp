#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace metalloid {

/// What kind of failure an Error reports.
enum class ErrorCode {
  invalidArgument,  ///< The caller's mistake: a wrong size, type, device, order of calls or option.
  unsupported,      ///< A valid request that this library or this device does not offer.
  outOfMemory,      ///< Memory was asked for and not there.
  device,           ///< The device, its driver or the work on it failed.
  malformedFile,    ///< A file, an archive or a checkpoint is damaged, truncated or of another kind.
};

/// The code's name as it is spelled in C++, for instance "invalidArgument".
std::string_view name(ErrorCode code);

/// The one exception type of the library.
///
/// `what()` holds a full sentence that names the objects by label and the values after their names, followed by one
/// line " - While ..." for each step that led to the failure, innermost first.
class Error : public std::runtime_error {
 public:
  /// An error with its sentence and no context yet.
  Error(ErrorCode code, std::string message);

  /// What kind of failure this is.
  ErrorCode code() const noexcept { return code_; }

  /// The sentence alone, without the lines of context.
  std::string_view message() const noexcept;

  /// The sentence and its context.
  const char* what() const noexcept override;

  /// The same error with one more line of context: `error.during("encoding node 4 of graph \"mnist\"")`
  /// appends " - While encoding node 4 of graph "mnist"".
  Error during(std::string_view step) const;

 private:
  Error(ErrorCode code, std::shared_ptr<const std::string> text, std::size_t messageLength);

  ErrorCode code_;
  std::size_t messageLength_;
  std::shared_ptr<const std::string> text_;  // shared, so that copying an Error cannot throw
};

}  // namespace metalloid
