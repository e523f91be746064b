#pragma once

#include <metalloid/geometry.hpp>
#include <metalloid/image.hpp>

#include <cstddef>
#include <string>

namespace metalloid::detail {

/// A read count that no graph exhausts; views add to it.
inline constexpr std::size_t kForever = all / 2;

/// The images of a batch under way through a graph, in the two forms that kernels take: one image that holds them all,
/// whose cost does not grow with the batch, and a handle for each, which is what callers give and get.
class BatchImages {
 public:
  BatchImages() = default;  ///< None.

  /// Images that somebody else has made.
  explicit BatchImages(ImageBatch images);
  /// One new image that holds `count` of them; for a batch of one it may hold several.
  BatchImages(const Image& image, std::size_t count) : made_{image}, together_{image}, count_(count) {}

  /// The objects that have been made: those that have labels, storage and read counts to look after.
  const ImageBatch& made() const { return made_; }

  /// Lets a graph read new images as often as it wants.
  void hold() const;
  void setLabel(const std::string& label) const;

  /// Whether there is one image that holds them all, or none at all.
  bool areTogether() const { return made_.empty() || !together_.empty(); }
  /// That image.
  const ImageBatch& together() const { return together_; }
  /// A handle for each.
  const ImageBatch& each();

  /// Views of some channels.
  BatchImages subImages(Range channels) const;

 private:
  ImageBatch made_;
  ImageBatch together_;
  ImageBatch views_;  // of the one image, once somebody asks for each
  std::size_t count_ = 0;
};

}  // namespace metalloid::detail
