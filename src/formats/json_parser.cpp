#include "formats/json_parser.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <unordered_set>
#include <utility>
#include <vector>

namespace metalloid::formats {
namespace {

using nlohmann::json;

// Watches the events of the parser: the library itself accepts any depth and lets the last of equal keys win.
class Guard {
 public:
  Guard(const std::string& title, std::size_t maxDepth) : title_(title), maxDepth_(maxDepth) {}

  bool operator()(json::parse_event_t event, const json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (keys_.size() == maxDepth_) {
          throw Error(ErrorCode::malformedFile,
                      fmt::format("{} nests its JSON deeper than the {} levels that are expected.", title_, maxDepth_));
        }
        keys_.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        keys_.pop_back();
        break;
      case json::parse_event_t::key:
        if (!keys_.back().insert(value.get_ref<const std::string&>()).second) {
          throw Error(ErrorCode::malformedFile,
                      fmt::format("{} has the key {} twice in one JSON object.", title_, dumpJson(value)));
        }
        break;
      case json::parse_event_t::value:
        break;
    }
    return true;
  }

 private:
  const std::string& title_;
  std::size_t maxDepth_;
  std::vector<std::unordered_set<std::string>> keys_;  // one set for each open object or array
};

}  // namespace

json parseJson(std::string_view text, const std::string& title, std::size_t maxDepth) {
  Guard guard(title, maxDepth);
  try {
    return json::parse(text.begin(), text.end(),
                       [&guard](int, json::parse_event_t event, json& value) { return guard(event, value); });
  } catch (const json::exception& error) {
    // The library's text starts with "[json.exception.parse_error.101] ", which helps nobody.
    const std::string_view reason = error.what();
    const std::size_t bracket = reason.find("] ");
    throw Error(ErrorCode::malformedFile,
                fmt::format("{} holds no valid JSON: {}.", title,
                            bracket == std::string_view::npos ? reason : reason.substr(bracket + 2)));
  }
}

std::string dumpJson(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

}  // namespace metalloid::formats
