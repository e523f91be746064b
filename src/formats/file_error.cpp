#include "formats/file_error.hpp"

#include "core/format.hpp"

#include <cerrno>
#include <system_error>

namespace metalloid::formats {
namespace {

ErrorCode codeFor(int errorNumber) {
  switch (errorNumber) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
      return ErrorCode::device;
    case ENOMEM:
      return ErrorCode::outOfMemory;
    default:
      return ErrorCode::invalidArgument;
  }
}

}  // namespace

void throwFileError(const std::string& sentence, int errorNumber) {
  // generic_category().message is strerror without its shared buffer.
  throw Error(codeFor(errorNumber), fmt::format("{}: {}.", sentence, std::generic_category().message(errorNumber)));
}

}  // namespace metalloid::formats
