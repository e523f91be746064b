#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace metalloid::detail {

struct Plan;

/// What a filter can say of the feature channels of its result before an image is there.
class ResultChannels {
 public:
  static ResultChannels unknown() { return {}; }
  static ResultChannels number(std::size_t channels) { return {channels, {}}; }
  /// As many as a source has.
  static ResultChannels ofSource(std::size_t source) { return {{}, source}; }

  const std::optional<std::size_t>& number() const { return number_; }
  const std::optional<std::size_t>& source() const { return source_; }

 private:
  ResultChannels() = default;
  ResultChannels(std::optional<std::size_t> number, std::optional<std::size_t> source)
      : number_(number), source_(source) {}

  std::optional<std::size_t> number_, source_;
};

/// The feature channels of one filter's sources. What is stated of one holds for every image that has as many.
class SourceChannels {
 public:
  virtual ~SourceChannels() = default;

  /// None while nobody has stated it, as for inputs of the graph.
  virtual std::optional<std::size_t> of(std::size_t source) const = 0;
  /// `what` says who wants so many: "its weights take". @throws Error (invalidArgument) when the source has another
  /// number.
  virtual void require(std::size_t source, std::size_t channels, std::string_view what) = 0;
  /// The same for a source that may have fewer. An encode sees what is not known here.
  virtual void requireAtMost(std::size_t source, std::size_t channels, std::string_view what) = 0;
  /// @throws Error (invalidArgument) when the numbers differ.
  virtual void requireEqual(std::size_t source, std::size_t other) = 0;
};

/// Compares what the filters of a plan state, in the order of encoding. @throws Error (invalidArgument) naming the
/// filter that contradicts what is known, and the numbers.
void checkChannels(const Plan& plan);

}  // namespace metalloid::detail
