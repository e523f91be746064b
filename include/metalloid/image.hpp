#pragma once

#include <metalloid/buffer.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid {

class Kernel;
class ImageAllocator;

/// How an image stores one channel of a pixel. Source: MPSImageFeatureChannelFormat.
enum class ImageFeatureChannelFormat : std::uint32_t {
  none = 0,     ///< Not said: the library chooses, or, where it cannot, an error.
  unorm8 = 1,   ///< One byte b for b / 255. Writing clamps to [0, 1] and rounds to nearest even.
  unorm16 = 2,  ///< Two bytes w for w / 65535. Writing as above.
  float16 = 3,  ///< IEEE binary16.
  float32 = 4,  ///< IEEE binary32.
  count = 6,    ///< One more than the largest value.
};

/// The format's name as it is spelled in C++; "unknown" for a value outside the enumeration.
std::string_view name(ImageFeatureChannelFormat format);

/// The order of elements in host memory. Source: MPSDataLayout.
enum class DataLayout : std::uint32_t {
  HeightxWidthxFeatureChannels = 0,  ///< [image][row][column][channel]
  FeatureChannelsxHeightxWidth = 1,  ///< [image][channel][row][column]
};

/// What of an image's channels is read or written. Source: MPSImageReadWriteParams.
struct ImageReadWriteParams {
  std::size_t featureChannelOffset = 0;  ///< The first one, a multiple of 4.
  /// How many; a multiple of 4 unless the offset is 0 or they reach the last channel.
  std::size_t numberOfFeatureChannelsToReadWrite = all;
};

/// Size and format of an image, or of several of one size. Source: MPSImageDescriptor.
struct ImageDescriptor {
  ImageFeatureChannelFormat channelFormat = ImageFeatureChannelFormat::none;  ///< Storage of a channel.
  std::size_t width = 1;                                                      ///< Pixels of a row.
  std::size_t height = 1;                                                     ///< Rows.
  std::size_t featureChannels = 1;                                            ///< Channels of a pixel.
  std::size_t numberOfImages = 1;                                             ///< Images in the container.

  friend bool operator==(const ImageDescriptor&, const ImageDescriptor&) = default;
};

/// One or several images of one size: rows of pixels, each with its feature channels. Source: MPSImage.
///
/// Storage is made, zero-filled, when it is first needed; the channels of a pixel lie together, and pixel follows
/// pixel. Views share the storage of their parent.
class Image : public detail::Handle {
 public:
  Image() = default;  ///< Nil.

  /// An image with storage of its own. @throws Error (invalidArgument) for a nil device, a format of none, or a size of
  /// 0 or beyond the address space.
  Image(const Device& device, const ImageDescriptor& imageDescriptor);

  Device device() const;                                   ///< The device that holds the pixels.
  std::size_t width() const;                               ///< Pixels of a row.
  std::size_t height() const;                              ///< Rows.
  std::size_t featureChannels() const;                     ///< Channels of a pixel.
  std::size_t numberOfImages() const;                      ///< Images in this container.
  ImageFeatureChannelFormat featureChannelFormat() const;  ///< Storage of a channel.
  ImageDescriptor descriptor() const;                      ///< Metalloid extension: all of the above.
  std::size_t precision() const;                           ///< Significant bits: 8, 16, 11 or 24.
  std::size_t pixelSize() const;                           ///< Bytes from pixel to pixel.
  bool isTemporary() const;                                ///< Metalloid extension: whether this is a `TemporaryImage`.

  /// The image that this is a view of; nil for others.
  Image parent() const;

  /// One image for each contained, sharing storage. A view of a temporary image is temporary, and holds one read of it
  /// until its own reads are over.
  std::vector<Image> batchRepresentation() const;
  /// The same for a part. @throws Error (invalidArgument) when it reaches beyond the last image.
  std::vector<Image> batchRepresentation(Range subRange) const;

  /// A view of some channels; location and length are multiples of 4, a length beyond the last channel is cut.
  /// @throws Error (invalidArgument) otherwise.
  Image subImage(Range featureChannelRange) const;

  /// Bytes of storage this image has or would need, without making it; 0 for views.
  std::size_t resourceSize() const;

  /// Makes the device's writes visible to the host: a no-op here, see `Matrix::synchronize`.
  void synchronize(CommandBuffer& commandBuffer) const;

  /// Where the elements of `readBytes` and `writeBytes` lie in host memory. Strides of 0 are dense.
  struct BytesArguments {
    DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels;  ///< Order of the elements.
    std::size_t bytesPerColumn = 0;                                    ///< From one column of a row to the next.
    std::size_t bytesPerRow = 0;                                       ///< From row to row.
    std::size_t bytesPerImage = 0;                                     ///< From image to image.
    Region region = regionNoClip;                  ///< Pixels (x, y) and images (z, depth), from imageIndex on.
    ImageReadWriteParams featureChannelInfo = {};  ///< Channels.
    std::size_t imageIndex = 0;                    ///< The first image.
  };
  /// Copies elements, in the image's format, out of it. Ordered after all committed work on the image.
  /// @throws Error (invalidArgument) for what lies outside the image, for strides too short, for too few bytes, and for
  /// temporaries; the stored error when the last committed work on the image failed.
  void readBytes(std::span<std::byte> bytes, const BytesArguments& arguments) const;
  /// Image `imageIndex` whole, dense.
  void readBytes(std::span<std::byte> bytes, DataLayout dataLayout, std::size_t imageIndex) const;
  /// Copies elements, in the image's format, into it. @throws as `readBytes`.
  void writeBytes(std::span<const std::byte> bytes, const BytesArguments& arguments) const;
  /// Image `imageIndex` whole, dense.
  void writeBytes(std::span<const std::byte> bytes, DataLayout dataLayout, std::size_t imageIndex) const;

  /// Metalloid extension: host values in, all images one after another, dense in `dataLayout`, converted as
  /// `Matrix::write` does; normalized formats clamp to [0, 1]. @throws Error (invalidArgument) unless `values` holds
  /// all elements, and as `writeBytes`.
  void write(std::span<const float> values, DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;
  /// As above.
  void write(std::span<const double> values, DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;
  /// As above.
  void write(std::span<const std::uint32_t> values,
             DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;
  /// As above.
  void write(std::span<const std::int32_t> values,
             DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;
  /// As above.
  void write(std::span<const std::uint8_t> values,
             DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;

  /// Metalloid extension: values out, in the order and with the conversions of `write`.
  template <class T>
  std::vector<T> read(DataLayout dataLayout = DataLayout::HeightxWidthxFeatureChannels) const;

  /// A name for messages.
  std::string label() const;
  void setLabel(std::string label) const;  ///< Sets the name for messages.

  /// What makes ordinary images.
  static const std::shared_ptr<ImageAllocator>& defaultAllocator();

 protected:
  /// For derived handles.
  explicit Image(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

extern template std::vector<float> Image::read<float>(DataLayout) const;
extern template std::vector<double> Image::read<double>(DataLayout) const;
extern template std::vector<std::uint32_t> Image::read<std::uint32_t>(DataLayout) const;
extern template std::vector<std::int32_t> Image::read<std::int32_t>(DataLayout) const;
extern template std::vector<std::uint8_t> Image::read<std::uint8_t>(DataLayout) const;

/// An image that lives within one command buffer and shares its storage with others; see `TemporaryMatrix` for the
/// rules. Source: MPSTemporaryImage.
class TemporaryImage : public Image {
 public:
  TemporaryImage() = default;  ///< Nil.

  /// A temporary of `commandBuffer`, with a read count of 1. @throws Error (invalidArgument) for a nil or committed
  /// command buffer, and as `Image`.
  TemporaryImage(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor);

  /// Narrows. @throws Error (invalidArgument) for an image that is not temporary.
  explicit TemporaryImage(const Image& image);

  /// Reads left before the contents become undefined. Initially 1.
  std::size_t readCount() const;

  /// Sets the reads left; 0 gives the storage back at once. @throws Error (invalidArgument) when the count is 0
  /// already.
  void setReadCount(std::size_t count) const;

  /// Makes storage for images of these descriptors, alive at the same time, ahead of their use. A hint.
  static void prefetchStorage(CommandBuffer& commandBuffer, std::span<const ImageDescriptor> imageDescriptorList);

  /// What makes temporary images.
  static const std::shared_ptr<ImageAllocator>& defaultAllocator();

 private:
  friend class Image;
  explicit TemporaryImage(detail::Ref<detail::RefCounted> implementation) : Image(std::move(implementation)) {}
};

/// Images of one size and format that a kernel processes together. Source: MPSImageBatch.
using ImageBatch = std::vector<Image>;

/// Adds `amount` to the read count of each distinct temporary image that has reads left.
/// @returns the number of distinct images.
std::size_t imageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount);
/// `Image::synchronize` for each distinct image.
void imageBatchSynchronize(const ImageBatch& batch, CommandBuffer& commandBuffer);
/// The sum of `Image::resourceSize` over the distinct images.
std::size_t imageBatchResourceSize(const ImageBatch& batch);
/// Calls `iterator` with each distinct image and its first index, until it returns more than the smallest integer.
/// @returns what the last call returned; the smallest integer without a call.
std::ptrdiff_t imageBatchIterate(const ImageBatch& batch,
                                 const std::function<std::ptrdiff_t(const Image& image, std::size_t index)>& iterator);

/// Makes the images that kernels and graphs return. Source: MPSImageAllocator.
class ImageAllocator {
 public:
  virtual ~ImageAllocator() = default;

  /// One image, which lives at least until the command buffer has completed.
  virtual Image image(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor, const Kernel& kernel) = 0;

  /// `count` images; by default one by one.
  virtual ImageBatch imageBatch(CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor,
                                const Kernel& kernel, std::size_t count);
};

}  // namespace metalloid
