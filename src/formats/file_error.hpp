#pragma once

#include <metalloid/error.hpp>

#include <string>

namespace metalloid::formats {

/// Throws an Error for a failed system call: `sentence` says what failed and ends without a full stop; the system's
/// reason for `errorNumber` is appended. A path that is wrong or not permitted is `invalidArgument`, a storage
/// device that is full or broken is `device`, exhausted memory is `outOfMemory`.
[[noreturn]] void throwFileError(const std::string& sentence, int errorNumber);

}  // namespace metalloid::formats
