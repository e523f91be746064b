#include "graph/channels.hpp"

#include "core/format.hpp"
#include "graph/plan.hpp"

#include <metalloid/error.hpp>

#include <string>
#include <utility>
#include <vector>

namespace metalloid::detail {
namespace {

/// Groups of images that have equally many channels, which one of their filters may know.
class ChannelGroups {
 public:
  explicit ChannelGroups(const Plan& plan) : plan_(plan), groups_(plan.images.size()) {
    for (std::size_t image = 0; image < groups_.size(); ++image) groups_[image].parent = image;
  }

  std::optional<std::size_t> of(std::size_t image) const { return groups_[find(image)].channels; }

  /// `user` is the filter whose need it is; null for what a filter gives.
  void state(std::size_t image, std::size_t channels, const PlannedStep* user) {
    Group& group = groups_[find(image)];
    group.channels = channels;
    group.user = user;
  }

  void join(std::size_t image, std::size_t other) {
    std::size_t kept = find(image), gone = find(other);
    if (kept == gone) return;
    if (!groups_[kept].channels && groups_[gone].channels) std::swap(kept, gone);
    groups_[gone].parent = kept;
  }

  /// `the result of CNNPoolingMaxNode "pool1", has 16`, or who says so of what nobody makes.
  std::string describe(std::size_t image) const {
    const Group& group = groups_[find(image)];
    const PlannedImage& planned = plan_.images[image];
    std::string text = fmt::format("{}{}, has {}", planned.isInput ? "" : "the ", planned.name, *group.channels);
    if (group.user) text += fmt::format(" for {}", group.user->name);
    return text;
  }

 private:
  struct Group {
    std::size_t parent = 0;  // itself: the group's first image
    std::optional<std::size_t> channels;
    const PlannedStep* user = nullptr;
  };

  std::size_t find(std::size_t image) const {
    while (groups_[image].parent != image) image = groups_[image].parent;
    return image;
  }

  const Plan& plan_;
  std::vector<Group> groups_;
};

/// The sources of one step.
class StepChannels final : public SourceChannels {
 public:
  StepChannels(ChannelGroups& groups, const PlannedStep& step) : groups_(groups), step_(step) {}

  std::optional<std::size_t> of(std::size_t source) const override { return groups_.of(step_.sources[source]); }

  void require(std::size_t source, std::size_t channels, std::string_view what) override {
    const std::size_t image = step_.sources[source];
    if (!groups_.of(image)) groups_.state(image, channels, &step_);
    if (groups_.of(image) != channels) refuseSource(image, channels, what);
  }

  void requireAtMost(std::size_t source, std::size_t channels, std::string_view what) override {
    const std::size_t image = step_.sources[source];
    if (groups_.of(image).value_or(0) > channels) refuseSource(image, channels, what);
  }

  void requireEqual(std::size_t source, std::size_t other) override {
    const std::size_t first = step_.sources[source], second = step_.sources[other];
    if (of(source) && of(other) && of(source) != of(other)) {
      refuse(fmt::format("its sources must have equally many feature channels, but one, {}, and another, {}.",
                         groups_.describe(first), groups_.describe(second)));
    }
    groups_.join(first, second);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::invalidArgument, fmt::format("{}: {}", step_.name, why));
  }

  [[noreturn]] void refuseSource(std::size_t image, std::size_t channels, std::string_view what) const {
    refuse(fmt::format("{} {} feature channels, but its source, {}.", what, channels, groups_.describe(image)));
  }

  ChannelGroups& groups_;
  const PlannedStep& step_;
};

}  // namespace

void checkChannels(const Plan& plan) {
  ChannelGroups groups(plan);
  for (const PlannedStep& step : plan.steps) {
    const Filter& filter = *step.node->filter;
    StepChannels sources(groups, step);
    const ResultChannels result = filter.resultChannels(sources);
    if (contains(filter.padding->paddingMethod(), NNPaddingMethod::custom)) continue;  // which may change the result
    if (result.number()) groups.state(step.result, *result.number(), nullptr);
    if (result.source()) groups.join(step.sources[*result.source()], step.result);
  }
}

}  // namespace metalloid::detail
