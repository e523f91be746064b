#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalidArgument:
      return "invalidArgument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::outOfMemory:
      return "outOfMemory";
    case ErrorCode::device:
      return "device";
    case ErrorCode::malformedFile:
      return "malformedFile";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message)
    : std::runtime_error(""),
      code_(code),
      messageLength_(message.size()),
      text_(std::make_shared<const std::string>(std::move(message))) {}

Error::Error(ErrorCode code, std::shared_ptr<const std::string> text, std::size_t messageLength)
    : std::runtime_error(""), code_(code), messageLength_(messageLength), text_(std::move(text)) {}

std::string_view Error::message() const noexcept { return std::string_view(*text_).substr(0, messageLength_); }

const char* Error::what() const noexcept { return text_->c_str(); }

Error Error::during(std::string_view step) const {
  std::string text = *text_;
  text.append("\n - While ").append(step);
  return Error(code_, std::make_shared<const std::string>(std::move(text)), messageLength_);
}

}  // namespace metalloid
