#include "core/format.hpp"
#include "kernels/encoding.hpp"
#include "kernels/overlap.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace metalloid::detail {

using operations::ImageView;
using operations::MatrixView;

std::string Encoding::describe(std::string_view role, const ImageImplementation& image) {
  return fmt::format("{} ({})", image.name(), role);
}

Encoding::ImageOperand Encoding::images(std::string_view role, const ImageBatch& images, std::size_t firstImage,
                                        std::size_t count, Access access) {
  if (images.empty()) refuse(fmt::format("The {} is empty.", role));
  ImageOperand operand;
  operand.encoding_ = this;
  operand.use_ = imageUses_.size();
  ImageUse use{.role = role, .access = access, .images = {}, .region = {}};
  use.images.reserve(images.size());
  if (images.size() > 1) operand.addresses_.reserve(images.size());
  for (const Image& handle : images) {
    if (!handle) refuse(fmt::format("The {} is nil.", role));
    auto& image = static_cast<ImageImplementation&>(*handle.implementation());
    const auto name = [&] { return describe(role, image); };
    if (&image.device() != &commandBuffer_.device()) {
      refuse(fmt::format("{} is on device {}, but the command buffer is on device {}.", name(), image.device().name(),
                         commandBuffer_.device().name()));
    }
    if (image.isTemporary()) checkTemporary(name, image.array().owner(), image.readCount());
    const auto& descriptor = image.descriptor();
    if (use.images.empty()) {
      operand.descriptor_ = descriptor;
      operand.descriptor_.numberOfImages = 1;
      operand.pixelBytes_ = image.pixelBytes();
      operand.rowBytes_ = image.rowBytes();
      operand.imageBytes_ = image.imageBytes();
    }
    ImageDescriptor one = descriptor;
    one.numberOfImages = 1;
    if (one != operand.descriptor_ || image.pixelBytes() != operand.pixelBytes_) {
      refuse(
          fmt::format("The images of a batch must be alike, but one {} is {} x {} x {} {} and another is {} x {} x {} "
                      "{}.",
                      role, operand.height(), operand.width(), operand.channels(),
                      metalloid::name(operand.descriptor_.channelFormat), one.height, one.width, one.featureChannels,
                      metalloid::name(one.channelFormat)));
    }
    if (images.size() > 1 && descriptor.numberOfImages != 1) {
      refuse(
          fmt::format("{} holds {} images, but in a batch each image holds one.", name(), descriptor.numberOfImages));
    }
    if (firstImage > descriptor.numberOfImages || count > descriptor.numberOfImages - firstImage) {
      refuse(fmt::format("{} holds {} images, but {} from {} on are needed.", name(), descriptor.numberOfImages, count,
                         firstImage));
    }
    // Of a batch each image is a part of its own; the images of one that holds several follow each other.
    std::byte* const address = image.address(firstImage);
    if (use.images.empty()) operand.data_ = address;
    if (images.size() > 1) operand.addresses_.push_back(address);
    operand.images_ += count;
    use.images.emplace_back(&image);
  }
  bool isRegular = true;
  for (std::size_t n = 1; n < operand.addresses_.size() && isRegular; ++n)
    isRegular = operand.addresses_[n] == operand.data_ + n * operand.imageBytes_;
  if (isRegular) operand.addresses_.clear();
  imageUses_.push_back(std::move(use));
  return operand;
}

Encoding::ImageOperand Encoding::source(std::string_view role, const ImageBatch& batch, std::size_t firstImage,
                                        std::size_t count) {
  return images(role, batch, firstImage, count, Access::read);
}
Encoding::ImageOperand Encoding::result(std::string_view role, const ImageBatch& batch, std::size_t firstImage,
                                        std::size_t count) {
  return images(role, batch, firstImage, count, Access::write);
}
Encoding::ImageOperand Encoding::optionalSource(std::string_view role, const ImageBatch& batch) {
  return batch.empty() ? ImageOperand() : source(role, batch);
}
Encoding::ImageOperand Encoding::optionalResult(std::string_view role, const ImageBatch& batch) {
  return batch.empty() ? ImageOperand() : result(role, batch);
}

void Encoding::reads(std::string_view role, const State& state) {
  if (!state) refuse(fmt::format("The {} is nil.", role));
  auto& object = implementation(state);
  const auto name = [&] { return fmt::format("{} ({})", object.name(), role); };
  if (&object.device() != &commandBuffer_.device()) {
    refuse(fmt::format("{} is on device {}, but the command buffer is on device {}.", name(), object.device().name(),
                       commandBuffer_.device().name()));
  }
  if (object.isTemporary()) checkTemporary(name, object.owner(), object.readCount());
  states_.emplace_back(&object);
}

ImageView Encoding::ImageOperand::view() { return view(0, channels()); }

ImageView Encoding::ImageOperand::view(std::size_t firstChannel, std::size_t channels) {
  return view({0, 0, width(), height()}, firstChannel, channels);
}

ImageView Encoding::ImageOperand::view(PixelRect rect, std::size_t firstChannel, std::size_t channels) {
  if (!given()) return {};
  if (rect.x + rect.width > width() || rect.y + rect.height > height() || firstChannel > this->channels() ||
      channels > this->channels() - firstChannel) {
    encoding_->refuse(
        fmt::format("{} has {} x {} pixels of {} channels, but {} needs {} x {} pixels from ({}, {}) on and "
                    "{} channels from {} on.",
                    encoding_->imageUses_[use_].name(), width(), height(), this->channels(), encoding_->kernelName_,
                    rect.width, rect.height, rect.x, rect.y, channels, firstChannel));
  }
  ImageView view{.data = nullptr,
                 .images = images(),
                 .width = rect.width,
                 .height = rect.height,
                 .channels = channels,
                 .pixelBytes = pixelBytes_,
                 .rowBytes = rowBytes_,
                 .imageBytes = imageBytes_,
                 .type = dataTypeOf(descriptor_.channelFormat)};
  const std::size_t first =
      rect.y * rowBytes_ + rect.x * pixelBytes_ + firstChannel * sizeOfDataType(view.type);  // within an image
  view.data = data_ + first;
  view.addresses = addresses_;
  for (auto& address : view.addresses) address += first;
  ImageUse& use = encoding_->imageUses_[use_];
  use.region = view;
  use.hasRegion = true;
  return view;
}

std::byte* Encoding::scratch(std::size_t bytes) {
  scratch_.push_back(commandBuffer_.takeTemporaryStorage(bytes));
  return scratch_.back()->address();
}

void Encoding::requireEdgeMode(ImageEdgeMode edgeMode) const {
  if (edgeMode <= ImageEdgeMode::clamp) return;
  refuse(fmt::format("The edge mode of {} is {}, but must be zero or clamp: others are for padding kernels.",
                     kernelName_, static_cast<std::uint32_t>(edgeMode)));
}

ImageView Encoding::region(ImageOperand& operand, Offset offset, std::size_t width, std::size_t height,
                           std::size_t firstChannel, std::size_t channels, ImageEdgeMode edgeMode) {
  requireEdgeMode(edgeMode);
  const auto w = static_cast<std::ptrdiff_t>(operand.width()), h = static_cast<std::ptrdiff_t>(operand.height());
  const bool isInside = offset.x >= 0 && offset.y >= 0 && offset.x + static_cast<std::ptrdiff_t>(width) <= w &&
                        offset.y + static_cast<std::ptrdiff_t>(height) <= h;
  if (isInside) {
    return operand.view({static_cast<std::size_t>(offset.x), static_cast<std::size_t>(offset.y), width, height},
                        firstChannel, channels);
  }
  const ImageView source = operand.view(firstChannel, channels);
  ImageView copy = source;
  copy.addresses.clear();
  copy.width = width;
  copy.height = height;
  copy.pixelBytes = channels * sizeOfDataType(copy.type);
  copy.rowBytes = width * copy.pixelBytes;
  copy.imageBytes = height * copy.rowBytes;
  copy.data = scratch(copy.images * copy.imageBytes);
  prepend(operations::ImageCopy{
      .source = source, .result = copy, .offsetX = offset.x, .offsetY = offset.y, .edgeMode = edgeMode});
  return copy;
}

namespace {

/// The pixels of one image, a matrix for each row of them, for the check of overlaps.
MatrixView rowsOf(const ImageView& view, std::size_t n) {
  const bool isEven = view.width * view.pixelBytes == view.rowBytes;  // then one matrix is enough
  return {.data = view.image(n),
          .rows = isEven ? view.pixels() : view.width,
          .columns = view.channels,
          .rowBytes = view.pixelBytes,
          .matrices = isEven ? 1 : view.height,
          .matrixBytes = view.rowBytes,
          .type = view.type};
}

struct Interval {
  const std::byte* begin;
  std::size_t image;
  friend bool operator<(const Interval& a, const Interval& b) { return std::less<>()(a.begin, b.begin); }
};

std::vector<Interval> intervals(const ImageView& view) {
  std::vector<Interval> all;
  all.reserve(view.images);
  for (std::size_t n = 0; n < view.images; ++n) all.push_back({view.image(n), n});
  std::sort(all.begin(), all.end());
  return all;
}

/// Bytes from the first element of an image to the end of its last.
std::size_t extent(const ImageView& view) {
  if (view.width == 0 || view.height == 0) return 0;
  return (view.height - 1) * view.rowBytes + (view.width - 1) * view.pixelBytes +
         view.channels * sizeOfDataType(view.type);
}

bool overlapAnywhere(const ImageView& a, const ImageView& b) {
  const std::size_t aExtent = extent(a), bExtent = extent(b);
  if (aExtent == 0 || bExtent == 0) return false;
  const auto aAll = intervals(a), bAll = intervals(b);
  for (const Interval& one : aAll) {
    const auto address = reinterpret_cast<std::uintptr_t>(one.begin);
    const auto endsBefore = [&](const Interval& other) {
      return reinterpret_cast<std::uintptr_t>(other.begin) + bExtent < address;
    };
    for (auto it = std::partition_point(bAll.begin(), bAll.end(), endsBefore);
         it != bAll.end() && std::less<>()(it->begin, one.begin + aExtent); ++it) {
      if (overlap(rowsOf(a, one.image), rowsOf(b, it->image))) return true;
    }
  }
  return false;
}

/// Whether the addresses that a batch spans meet those of another at all: what nearly every pair fails at once.
bool mayOverlap(const ImageView& a, const ImageView& b) {
  const auto span = [](const ImageView& view) {
    std::pair<const std::byte*, const std::byte*> ends{view.data, view.image(view.images - 1)};
    for (const std::byte* address : view.addresses) {
      ends.first = std::min(ends.first, address, std::less<>());
      ends.second = std::max(ends.second, address, std::less<>());
    }
    ends.second += extent(view);
    return ends;
  };
  const auto one = span(a), other = span(b);
  return std::less<>()(one.first, other.second) && std::less<>()(other.first, one.second);
}

}  // namespace

void Encoding::checkImageOverlaps() const {
  for (std::size_t i = 0; i < imageUses_.size(); ++i) {
    for (std::size_t j = i + 1; j < imageUses_.size(); ++j) {
      const ImageUse& a = imageUses_[i];
      const ImageUse& b = imageUses_[j];
      if (a.access == Access::read && b.access == Access::read) continue;
      if (!a.hasRegion || !b.hasRegion || !mayOverlap(a.region, b.region)) continue;
      if (overlapAnywhere(a.region, b.region))
        refuse(fmt::format("{} and {} overlap in memory, which {} does not allow.", a.name(), b.name(), kernelName_));
    }
  }
}

void Encoding::finishImages() {
  std::vector<ImageImplementation*> read;
  const ArrayImplementation* last = nullptr;
  for (const ImageUse& use : imageUses_) {
    for (const auto& image : use.images) {
      if (!image->isTemporary()) {
        if (&image->array() != last) commandBuffer_.use(implementation(image->array().buffer()));
        last = &image->array();
      } else if (use.access != Access::write) {
        read.push_back(image.get());
      }
    }
  }
  // One encode counts once for each distinct object, in however many roles it is read.
  std::sort(read.begin(), read.end(), std::less<>());
  read.erase(std::unique(read.begin(), read.end()), read.end());
  for (auto* const image : read) image->countRead();
  std::sort(states_.begin(), states_.end(), [](const auto& a, const auto& b) { return a.get() < b.get(); });
  states_.erase(std::unique(states_.begin(), states_.end()), states_.end());
  for (const auto& state : states_) state->countRead();
  for (auto& storage : scratch_) commandBuffer_.giveTemporaryStorage(std::move(storage));
}

}  // namespace metalloid::detail
