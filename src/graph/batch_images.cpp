#include "graph/batch_images.hpp"

#include "core/image_implementation.hpp"

#include <utility>

namespace metalloid::detail {

namespace {

void holdAll(const ImageBatch& images) {
  for (const Image& image : images) {
    if (image.isTemporary()) implementation(image).setReadCount(kForever);
  }
}

}  // namespace

BatchImages::BatchImages(ImageBatch images) : made_(std::move(images)), count_(made_.size()) {
  if (made_.size() == 1) {
    together_ = made_;
  } else if (const Image one = asOneImage(made_)) {
    together_ = {one};
    holdAll(together_);
  }
}

void BatchImages::hold() const { holdAll(made_); }

void BatchImages::setLabel(const std::string& label) const {
  for (const Image& image : made_) image.setLabel(label);
  for (const Image& image : together_) image.setLabel(label);
}

const ImageBatch& BatchImages::each() {
  if (made_.size() == count_) return made_;
  if (views_.empty()) {
    views_ = made_.front().batchRepresentation();
    holdAll(views_);
    for (const Image& view : views_) view.setLabel(made_.front().label());
  }
  return views_;
}

BatchImages BatchImages::subImages(Range channels) const {
  const auto view = [&](const Image& image) {
    return makeRef<ImageImplementation>(Ref<ImageImplementation>(&implementation(image)),
                                        Range{0, image.numberOfImages()}, channels)
        ->handle();
  };
  if (areTogether()) return {view(together_.front()), count_};
  ImageBatch views;
  for (const Image& image : made_) views.push_back(view(image));
  return BatchImages(std::move(views));
}

}  // namespace metalloid::detail
