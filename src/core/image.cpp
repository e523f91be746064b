#include "core/buffer_implementation.hpp"
#include "core/checked_size.hpp"
#include "core/element_conversion.hpp"
#include "core/format.hpp"
#include "core/image_implementation.hpp"

#include <metalloid/error.hpp>
#include <metalloid/image.hpp>
#include <metalloid/kernel.hpp>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace metalloid {

using detail::ArrayImplementation;
using detail::ArrayLayout;
using detail::ImageImplementation;
using detail::makeRef;
using detail::Ref;

namespace detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

std::string sizeText(const ImageDescriptor& d) {
  return fmt::format("{} of {} x {} pixels with {} channels", d.numberOfImages, d.width, d.height, d.featureChannels);
}

}  // namespace

DataType dataTypeOf(ImageFeatureChannelFormat format) {
  switch (format) {
    case ImageFeatureChannelFormat::unorm8:
      return DataType::unorm8;
    case ImageFeatureChannelFormat::unorm16:
      return DataType::unorm16;
    case ImageFeatureChannelFormat::float16:
      return DataType::float16;
    case ImageFeatureChannelFormat::float32:
      return DataType::float32;
    default:
      refuse(fmt::format("An image cannot have the channel format {}.", metalloid::name(format)));
  }
}

ArrayLayout layoutOf(const ImageDescriptor& descriptor) {
  const DataType type = dataTypeOf(descriptor.channelFormat);
  if (descriptor.width == 0 || descriptor.height == 0 || descriptor.featureChannels == 0 ||
      descriptor.numberOfImages == 0) {
    refuse(fmt::format("An image has no size of 0, but {} are asked for.", sizeText(descriptor)));
  }
  const auto pixels = (CheckedSize(descriptor.width) * descriptor.height).value();
  const auto pixelBytes = (CheckedSize(descriptor.featureChannels) * sizeOfDataType(type)).value();
  if (!pixels || !pixelBytes) refuse(fmt::format("{} are larger than the address space.", sizeText(descriptor)));
  try {
    return ArrayLayout::of(MatrixDescriptor{.rows = *pixels,
                                            .columns = descriptor.featureChannels,
                                            .matrices = descriptor.numberOfImages,
                                            .rowBytes = *pixelBytes,
                                            .dataType = type});
  } catch (const Error& error) {
    throw error.during(fmt::format("making an image of {}", sizeText(descriptor)));
  }
}

ImageImplementation& implementation(const Image& image) {
  if (!image) throw Error(ErrorCode::invalidArgument, "The image is nil.");
  return static_cast<ImageImplementation&>(*image.implementation());
}

ImageImplementation::ImageImplementation(Ref<ArrayImplementation> array, const ImageDescriptor& descriptor)
    : array_(std::move(array)), descriptor_(descriptor) {}

ImageImplementation::ImageImplementation(Ref<ArrayImplementation> array, const ImageDescriptor& descriptor,
                                         std::size_t firstImage)
    : array_(std::move(array)), descriptor_(descriptor), firstImage_(firstImage) {}

ImageImplementation::ImageImplementation(Ref<ImageImplementation> parent, Range images, Range channels)
    : array_(parent->array_),
      descriptor_(parent->descriptor_),
      firstImage_(parent->firstImage_ + images.location),
      firstChannel_(parent->firstChannel_ + channels.location),
      parent_(std::move(parent)) {
  descriptor_.numberOfImages = images.length;
  descriptor_.featureChannels = channels.length;
  if (isTemporary()) parent_->setReadCount(parent_->readCount_ + 1);
}

ImageImplementation::ImageImplementation(const ImageImplementation& first, std::size_t count)
    : array_(first.array_),
      descriptor_(first.descriptor_),
      firstImage_(first.firstImage_),
      firstChannel_(first.firstChannel_),
      label_(first.label_) {
  descriptor_.numberOfImages = count;
}

namespace {

struct MakeImage : Image {
  explicit MakeImage(Ref<RefCounted> implementation) : Image(std::move(implementation)) {}
};

}  // namespace

Image ImageImplementation::handle() { return MakeImage(Ref<RefCounted>(this)); }

std::byte* ImageImplementation::address(std::size_t index) {
  return array_->address() + (firstImage_ + index) * imageBytes() +
         firstChannel_ * sizeOfDataType(array_->layout().type);
}

std::string ImageImplementation::name() const {
  const std::string_view type = isTemporary() ? "TemporaryImage" : "Image";
  return label_.empty() ? std::string(type) : fmt::format("{} \"{}\"", type, label_);
}

void ImageImplementation::setReadCount(std::size_t count) {
  if (!isTemporary()) refuse(fmt::format("{} has no readCount: it is not temporary.", name()));
  if (readCount() == 0) refuse(fmt::format("The readCount of {} is 0 already: its contents are gone.", name()));
  readCount_ = count;
  if (count > 0) return;
  if (parent_) {
    parent_->countRead();
  } else {
    array_->countRead();
  }
}

std::size_t ImageImplementation::elements() const {
  return descriptor_.numberOfImages * descriptor_.height * descriptor_.width * descriptor_.featureChannels;
}

/// Where the elements of a host copy lie, checked.
struct ImageImplementation::HostLayout {
  std::size_t x, y, width, height;
  std::size_t firstImage, images;
  std::size_t firstChannel, channels;
  std::size_t columnBytes, rowBytes, imageBytes, channelBytes;  // in host memory
};

ImageImplementation::HostLayout ImageImplementation::check(std::size_t bytes, const Image::BytesArguments& arguments,
                                                           std::string_view action) {
  if (isTemporary())
    refuse(fmt::format("{} cannot be {} by the host: its storage belongs to its command buffer.", name(), action));
  const auto& region = arguments.region;
  const auto cut = [](std::size_t size, std::size_t first, std::size_t available) {
    return size == all && first <= available ? available - first : size;
  };
  HostLayout host{};
  host.x = region.origin.x;
  host.y = region.origin.y;
  host.width = cut(region.size.width, host.x, descriptor_.width);
  host.height = cut(region.size.height, host.y, descriptor_.height);
  host.firstImage = (CheckedSize(arguments.imageIndex) + region.origin.z).value().value_or(all);
  host.images = region.size.depth == all ? 1 : region.size.depth;
  const auto beyond = [](std::size_t first, std::size_t count, std::size_t available) {
    return first > available || count > available - first;
  };
  if (beyond(host.x, host.width, descriptor_.width) || beyond(host.y, host.height, descriptor_.height) ||
      beyond(host.firstImage, host.images, descriptor_.numberOfImages)) {
    refuse(fmt::format("{} holds {}; images {} to {}, {} x {} pixels from ({}, {}) on, cannot be {}.", name(),
                       sizeText(descriptor_), host.firstImage, host.firstImage + host.images, host.width, host.height,
                       host.x, host.y, action));
  }
  const auto& info = arguments.featureChannelInfo;
  host.firstChannel = info.featureChannelOffset;
  host.channels = cut(info.numberOfFeatureChannelsToReadWrite, host.firstChannel, descriptor_.featureChannels);
  if (host.firstChannel % 4 != 0)
    refuse(fmt::format("The featureChannelOffset is {}, which is no multiple of 4.", host.firstChannel));
  if (host.channels == 0 || beyond(host.firstChannel, host.channels, descriptor_.featureChannels)) {
    refuse(fmt::format("{} has {} channels; {} from {} on cannot be {}.", name(), descriptor_.featureChannels,
                       host.channels, host.firstChannel, action));
  }
  if (host.channels % 4 != 0 && host.firstChannel != 0 &&
      host.firstChannel + host.channels != descriptor_.featureChannels) {
    refuse(fmt::format("{} channels from {} on of {} cannot be {}; their number is no multiple of 4.", host.channels,
                       host.firstChannel, name(), action));
  }
  const std::size_t element = sizeOfDataType(array_->layout().type);
  const bool isHWC = arguments.dataLayout == DataLayout::HeightxWidthxFeatureChannels;
  const std::size_t denseColumn = isHWC ? host.channels * element : element;
  host.columnBytes = arguments.bytesPerColumn ? arguments.bytesPerColumn : denseColumn;
  const CheckedSize denseRow = CheckedSize(host.width) * host.columnBytes;
  host.rowBytes = arguments.bytesPerRow ? arguments.bytesPerRow : denseRow.value().value_or(0);
  const CheckedSize plane = CheckedSize(host.height) * host.rowBytes;
  const CheckedSize denseImage = isHWC ? plane : plane * host.channels;
  host.imageBytes = arguments.bytesPerImage ? arguments.bytesPerImage : denseImage.value().value_or(0);
  host.channelBytes = isHWC ? element : plane.value().value_or(0);
  if (host.columnBytes < denseColumn || host.rowBytes < denseRow.value().value_or(all) ||
      host.imageBytes < denseImage.value().value_or(all)) {
    refuse(
        fmt::format("The strides of {} bytes a column, {} a row and {} an image are too short for {} x {} pixels of "
                    "{} channels.",
                    host.columnBytes, host.rowBytes, host.imageBytes, host.width, host.height, host.channels));
  }
  if (host.width == 0 || host.height == 0 || host.images == 0) return host;
  // From the first element to the end of the last.
  const auto needed =
      (CheckedSize(host.images - 1) * host.imageBytes + CheckedSize(host.channels - 1) * host.channelBytes +
       CheckedSize(host.height - 1) * host.rowBytes + CheckedSize(host.width - 1) * host.columnBytes + element)
          .value();
  if (!needed || bytes < *needed) {
    refuse(fmt::format("{} bytes are given, but {} bytes of {} are to be {}.", bytes, needed.value_or(all), name(),
                       action));
  }
  return host;
}

void ImageImplementation::readBytes(std::span<std::byte> bytes, const Image::BytesArguments& arguments) {
  const HostLayout host = check(bytes.size(), arguments, "read");
  detail::implementation(array_->buffer()).waitForCommittedWork();
  const std::size_t element = sizeOfDataType(array_->layout().type);
  std::vector<std::byte> row(host.width * host.channels * element);
  for (std::size_t n = 0; n < host.images; ++n) {
    for (std::size_t y = 0; y < host.height; ++y) {
      const std::byte* const from = address(host.firstImage + n) + (host.y + y) * rowBytes() + host.x * pixelBytes() +
                                    host.firstChannel * element;
      std::byte* const to = bytes.data() + n * host.imageBytes + y * host.rowBytes;
      if (host.channelBytes == element) {
        device().copyToHost(to, host.columnBytes, from, pixelBytes(), {host.channels * element, host.width});
        continue;
      }
      device().copyToHost(row.data(), host.channels * element, from, pixelBytes(),
                          {host.channels * element, host.width});
      for (std::size_t x = 0; x < host.width; ++x) {
        for (std::size_t c = 0; c < host.channels; ++c) {
          std::memcpy(to + c * host.channelBytes + x * host.columnBytes, row.data() + (x * host.channels + c) * element,
                      element);
        }
      }
    }
  }
}

void ImageImplementation::writeBytes(std::span<const std::byte> bytes, const Image::BytesArguments& arguments) {
  const HostLayout host = check(bytes.size(), arguments, "written");
  detail::implementation(array_->buffer()).waitForCommittedWork();
  const std::size_t element = sizeOfDataType(array_->layout().type);
  std::vector<std::byte> row(host.width * host.channels * element);
  for (std::size_t n = 0; n < host.images; ++n) {
    for (std::size_t y = 0; y < host.height; ++y) {
      std::byte* const to = address(host.firstImage + n) + (host.y + y) * rowBytes() + host.x * pixelBytes() +
                            host.firstChannel * element;
      const std::byte* const from = bytes.data() + n * host.imageBytes + y * host.rowBytes;
      if (host.channelBytes == element) {
        device().copyToDevice(to, pixelBytes(), from, host.columnBytes, {host.channels * element, host.width});
        continue;
      }
      for (std::size_t x = 0; x < host.width; ++x) {
        for (std::size_t c = 0; c < host.channels; ++c) {
          std::memcpy(row.data() + (x * host.channels + c) * element,
                      from + c * host.channelBytes + x * host.columnBytes, element);
        }
      }
      device().copyToDevice(to, pixelBytes(), row.data(), host.channels * element,
                            {host.channels * element, host.width});
    }
  }
}

namespace {

/// All images of a container, dense.
Image::BytesArguments everything(const ImageDescriptor& descriptor, DataLayout dataLayout) {
  Image::BytesArguments arguments{.dataLayout = dataLayout};
  arguments.region.size.depth = descriptor.numberOfImages;
  return arguments;
}

}  // namespace

template <class T>
void ImageImplementation::write(std::span<const T> values, DataLayout dataLayout) {
  if (values.size() != elements()) {
    refuse(fmt::format("{} holds {}, {} elements, but {} values are written.", name(), sizeText(descriptor_),
                       elements(), values.size()));
  }
  const std::vector<std::byte> converted = encodeElements(values, array_->layout().type);
  writeBytes(converted.empty() ? std::as_bytes(values) : std::span<const std::byte>(converted),
             everything(descriptor_, dataLayout));
}

template <class T>
std::vector<T> ImageImplementation::read(DataLayout dataLayout) {
  std::vector<std::byte> bytes(elements() * sizeOfDataType(array_->layout().type));
  readBytes(bytes, everything(descriptor_, dataLayout));
  return decodeElements<T>(bytes, array_->layout().type);
}

bool ImageImplementation::follows(const ImageImplementation& first, std::size_t distance) const {
  return array_ == first.array_ && firstImage_ == first.firstImage_ + distance &&
         firstChannel_ == first.firstChannel_ && descriptor_ == first.descriptor_ && descriptor_.numberOfImages == 1;
}

Image asOneImage(const ImageBatch& batch) {
  if (batch.empty() || !batch.front()) return {};
  const ImageImplementation& first = implementation(batch.front());
  for (std::size_t n = 0; n < batch.size(); ++n) {
    if (!batch[n] || !implementation(batch[n]).follows(first, n)) return {};
  }
  return makeRef<ImageImplementation>(first, batch.size())->handle();
}

namespace {

Ref<ArrayImplementation> makeTemporaryArray(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor) {
  return makeTemporary(ArrayImplementation::Kind::matrix, commandBuffer, layoutOf(descriptor));
}

/// `count` temporary images that share one block of storage, so that kernels see one array.
ImageBatch makeTemporaryImages(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor, std::size_t count) {
  ImageDescriptor whole = descriptor;
  whole.numberOfImages = count * descriptor.numberOfImages;
  const auto array = makeTemporaryArray(commandBuffer, whole);
  array->setReadCount(count);
  ImageBatch batch;
  batch.reserve(count);
  for (std::size_t n = 0; n < count; ++n)
    batch.push_back(makeRef<ImageImplementation>(array, descriptor, n * descriptor.numberOfImages)->handle());
  return batch;
}

}  // namespace

Image makePlacedImage(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor, Ref<Storage> block,
                      std::size_t offset) {
  const auto array = makeTemporaryArray(commandBuffer, descriptor);
  array->place(std::move(block), offset);
  return makeRef<ImageImplementation>(array, descriptor)->handle();
}

}  // namespace detail

std::string_view name(ImageFeatureChannelFormat format) {
  switch (format) {
    case ImageFeatureChannelFormat::none:
      return "none";
    case ImageFeatureChannelFormat::unorm8:
      return "unorm8";
    case ImageFeatureChannelFormat::unorm16:
      return "unorm16";
    case ImageFeatureChannelFormat::float16:
      return "float16";
    case ImageFeatureChannelFormat::float32:
      return "float32";
    default:
      return "unknown";
  }
}

namespace {

class DefaultAllocator final : public ImageAllocator {
 public:
  Image image(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor, const Kernel&) override {
    return Image(detail::implementation(commandBuffer).device().handle(), imageDescriptor);
  }
  /// One array for all, so that kernels see one block.
  ImageBatch imageBatch(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor, const Kernel&,
                        std::size_t count) override {
    ImageDescriptor together = imageDescriptor;
    together.numberOfImages = count;
    return Image(detail::implementation(commandBuffer).device().handle(), together).batchRepresentation();
  }
};

class TemporaryAllocator final : public ImageAllocator {
 public:
  Image image(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor, const Kernel&) override {
    return TemporaryImage(commandBuffer, imageDescriptor);
  }
  ImageBatch imageBatch(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor, const Kernel&,
                        std::size_t count) override {
    return detail::makeTemporaryImages(commandBuffer, imageDescriptor, count);
  }
};

}  // namespace

ImageBatch ImageAllocator::imageBatch(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor,
                                      const Kernel& kernel, std::size_t count) {
  ImageBatch batch;
  for (std::size_t n = 0; n < count; ++n) batch.push_back(image(commandBuffer, imageDescriptor, kernel));
  return batch;
}

Image::Image(const Device& device, const ImageDescriptor& imageDescriptor)
    : Handle(makeRef<ImageImplementation>(
          makeRef<ArrayImplementation>(ArrayImplementation::Kind::matrix,
                                       Ref<detail::DeviceImplementation>(&detail::implementation(device)),
                                       detail::layoutOf(imageDescriptor)),
          imageDescriptor)) {}

Device Image::device() const { return detail::implementation(*this).device().handle(); }
std::size_t Image::width() const { return detail::implementation(*this).descriptor().width; }
std::size_t Image::height() const { return detail::implementation(*this).descriptor().height; }
std::size_t Image::featureChannels() const { return detail::implementation(*this).descriptor().featureChannels; }
std::size_t Image::numberOfImages() const { return detail::implementation(*this).descriptor().numberOfImages; }
ImageFeatureChannelFormat Image::featureChannelFormat() const {
  return detail::implementation(*this).descriptor().channelFormat;
}
ImageDescriptor Image::descriptor() const { return detail::implementation(*this).descriptor(); }
std::size_t Image::precision() const {
  switch (featureChannelFormat()) {
    case ImageFeatureChannelFormat::unorm8:
      return 8;
    case ImageFeatureChannelFormat::unorm16:
      return 16;
    case ImageFeatureChannelFormat::float16:
      return 11;
    default:
      return 24;
  }
}
std::size_t Image::pixelSize() const { return detail::implementation(*this).pixelBytes(); }
bool Image::isTemporary() const { return detail::implementation(*this).isTemporary(); }

Image Image::parent() const {
  const auto& parent = detail::implementation(*this).parent();
  return parent ? parent->handle() : Image();
}

std::vector<Image> Image::batchRepresentation() const { return batchRepresentation({0, numberOfImages()}); }

std::vector<Image> Image::batchRepresentation(Range subRange) const {
  auto& self = detail::implementation(*this);
  const std::size_t count = self.descriptor().numberOfImages;
  if (subRange.location > count || subRange.length > count - subRange.location) {
    throw Error(ErrorCode::invalidArgument, fmt::format("{} holds {} images, but {} from {} on are asked for.",
                                                        self.name(), count, subRange.length, subRange.location));
  }
  std::vector<Image> batch;
  for (std::size_t n = 0; n < subRange.length; ++n) {
    batch.push_back(makeRef<ImageImplementation>(Ref<ImageImplementation>(&self), Range{subRange.location + n, 1},
                                                 Range{0, self.descriptor().featureChannels})
                        ->handle());
  }
  return batch;
}

Image Image::subImage(Range featureChannelRange) const {
  auto& self = detail::implementation(*this);
  const std::size_t channels = self.descriptor().featureChannels;
  if (featureChannelRange.location % 4 != 0 || featureChannelRange.location >= channels ||
      featureChannelRange.length == 0) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} has {} channels; a view begins at a multiple of 4 below that, not at {}, and has some.",
                            self.name(), channels, featureChannelRange.location));
  }
  const std::size_t length = std::min(featureChannelRange.length, channels - featureChannelRange.location);
  if (length % 4 != 0 && featureChannelRange.location + length != channels) {
    throw Error(
        ErrorCode::invalidArgument,
        fmt::format("A view of {} channels of {} is asked for; the number is no multiple of 4.", length, self.name()));
  }
  return makeRef<ImageImplementation>(Ref<ImageImplementation>(&self), Range{0, self.descriptor().numberOfImages},
                                      Range{featureChannelRange.location, length})
      ->handle();
}

std::size_t Image::resourceSize() const {
  const auto& self = detail::implementation(*this);
  return self.parent() ? 0 : self.descriptor().numberOfImages * self.imageBytes();
}

void Image::synchronize(CommandBuffer& commandBuffer) const {
  detail::requireSynchronizable(detail::implementation(*this).array(), commandBuffer);
}

void Image::readBytes(std::span<std::byte> bytes, const BytesArguments& arguments) const {
  detail::implementation(*this).readBytes(bytes, arguments);
}
void Image::readBytes(std::span<std::byte> bytes, DataLayout dataLayout, std::size_t imageIndex) const {
  readBytes(bytes, {.dataLayout = dataLayout, .imageIndex = imageIndex});
}
void Image::writeBytes(std::span<const std::byte> bytes, const BytesArguments& arguments) const {
  detail::implementation(*this).writeBytes(bytes, arguments);
}
void Image::writeBytes(std::span<const std::byte> bytes, DataLayout dataLayout, std::size_t imageIndex) const {
  writeBytes(bytes, {.dataLayout = dataLayout, .imageIndex = imageIndex});
}

void Image::write(std::span<const float> values, DataLayout dataLayout) const {
  detail::implementation(*this).write(values, dataLayout);
}
void Image::write(std::span<const double> values, DataLayout dataLayout) const {
  detail::implementation(*this).write(values, dataLayout);
}
void Image::write(std::span<const std::uint32_t> values, DataLayout dataLayout) const {
  detail::implementation(*this).write(values, dataLayout);
}
void Image::write(std::span<const std::int32_t> values, DataLayout dataLayout) const {
  detail::implementation(*this).write(values, dataLayout);
}
void Image::write(std::span<const std::uint8_t> values, DataLayout dataLayout) const {
  detail::implementation(*this).write(values, dataLayout);
}
template <class T>
std::vector<T> Image::read(DataLayout dataLayout) const {
  return detail::implementation(*this).read<T>(dataLayout);
}
template std::vector<float> Image::read(DataLayout) const;
template std::vector<double> Image::read(DataLayout) const;
template std::vector<std::uint32_t> Image::read(DataLayout) const;
template std::vector<std::int32_t> Image::read(DataLayout) const;
template std::vector<std::uint8_t> Image::read(DataLayout) const;

std::string Image::label() const { return detail::implementation(*this).label(); }
void Image::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

const std::shared_ptr<ImageAllocator>& Image::defaultAllocator() {
  static const std::shared_ptr<ImageAllocator> allocator = std::make_shared<DefaultAllocator>();
  return allocator;
}

TemporaryImage::TemporaryImage(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor)
    : Image([&] {
        return makeRef<ImageImplementation>(detail::makeTemporaryArray(commandBuffer, imageDescriptor),
                                            imageDescriptor);
      }()) {}

TemporaryImage::TemporaryImage(const Image& image) : Image(image) {
  if (image && !image.isTemporary()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("{} is not temporary.", detail::implementation(image).name()));
  }
}

std::size_t TemporaryImage::readCount() const { return detail::implementation(*this).readCount(); }
void TemporaryImage::setReadCount(std::size_t count) const { detail::implementation(*this).setReadCount(count); }

void TemporaryImage::prefetchStorage(CommandBuffer& commandBuffer,
                                     std::span<const ImageDescriptor> imageDescriptorList) {
  std::vector<ArrayLayout> layouts;
  for (const auto& descriptor : imageDescriptorList) layouts.push_back(detail::layoutOf(descriptor));
  detail::prefetchStorage(commandBuffer, layouts);
}

const std::shared_ptr<ImageAllocator>& TemporaryImage::defaultAllocator() {
  static const std::shared_ptr<ImageAllocator> allocator = std::make_shared<TemporaryAllocator>();
  return allocator;
}

namespace {

/// Calls f(image, first index) for each distinct image.
template <class F>
std::size_t forEachDistinct(const ImageBatch& batch, F&& f) {
  std::unordered_set<Image> seen;
  for (std::size_t n = 0; n < batch.size(); ++n) {
    if (seen.insert(batch[n]).second) f(batch[n], n);
  }
  return seen.size();
}

}  // namespace

std::size_t imageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount) {
  return forEachDistinct(batch, [&](const Image& image, std::size_t) {
    auto& self = detail::implementation(image);
    if (!self.isTemporary() || self.readCount() == 0) return;
    const auto count = static_cast<std::ptrdiff_t>(self.readCount()) + amount;
    if (count < 0) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("The readCount of {} is {} and cannot become {}.", self.name(), self.readCount(), count));
    }
    self.setReadCount(static_cast<std::size_t>(count));
  });
}

void imageBatchSynchronize(const ImageBatch& batch, CommandBuffer& commandBuffer) {
  forEachDistinct(batch, [&](const Image& image, std::size_t) { image.synchronize(commandBuffer); });
}

std::size_t imageBatchResourceSize(const ImageBatch& batch) {
  std::size_t bytes = 0;
  forEachDistinct(batch, [&](const Image& image, std::size_t) { bytes += image.resourceSize(); });
  return bytes;
}

std::ptrdiff_t imageBatchIterate(const ImageBatch& batch,
                                 const std::function<std::ptrdiff_t(const Image&, std::size_t)>& iterator) {
  std::unordered_set<Image> seen;
  std::ptrdiff_t result = std::numeric_limits<std::ptrdiff_t>::min();
  for (std::size_t n = 0; n < batch.size() && result == std::numeric_limits<std::ptrdiff_t>::min(); ++n) {
    if (seen.insert(batch[n]).second) result = iterator(batch[n], n);
  }
  return result;
}

}  // namespace metalloid
