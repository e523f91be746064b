#pragma once

#include "core/array_implementation.hpp"

#include <metalloid/image.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// How elements of a channel format are stored. @throws Error (invalidArgument) for none and unknown formats.
DataType dataTypeOf(ImageFeatureChannelFormat format);

/// An image is an array with a matrix for each contained image, a row for each pixel and a column for each channel.
/// @throws Error (invalidArgument) for a format of none, sizes of 0 and what does not fit into memory.
ArrayLayout layoutOf(const ImageDescriptor& descriptor);

/// What an Image refers to: a region of images and channels of an array that it may share with others.
class ImageImplementation final : public RefCounted {
 public:
  /// All of a new array.
  ImageImplementation(Ref<ArrayImplementation> array, const ImageDescriptor& descriptor);
  /// Image `firstImage` of an array that several temporary images share, each holding one of its reads.
  ImageImplementation(Ref<ArrayImplementation> array, const ImageDescriptor& descriptor, std::size_t firstImage);
  /// A view.
  ImageImplementation(Ref<ImageImplementation> parent, Range images, Range channels);
  /// `first` and the images after it in its array, `count` in all, with reads of its own: see `asOneImage`.
  ImageImplementation(const ImageImplementation& first, std::size_t count);

  DeviceImplementation& device() const { return array_->device(); }
  const ImageDescriptor& descriptor() const { return descriptor_; }
  ArrayImplementation& array() const { return *array_; }
  const Ref<ImageImplementation>& parent() const { return parent_; }
  /// Whether this is one image, `distance` images after `first` in the same array.
  bool follows(const ImageImplementation& first, std::size_t distance) const;
  Image handle();

  std::size_t pixelBytes() const { return array_->layout().rowBytes; }
  std::size_t rowBytes() const { return descriptor_.width * pixelBytes(); }
  std::size_t imageBytes() const { return array_->layout().matrixBytes; }

  /// The first channel of the first pixel of image `index`; makes storage where there is none yet.
  std::byte* address(std::size_t index = 0);

  /// `Image "x"`, or `Image` without a label.
  std::string name() const;
  const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }

  // Temporaries only.

  bool isTemporary() const { return array_->isTemporary(); }
  /// A view whose parent's contents are gone has none left either.
  std::size_t readCount() const { return parent_ && parent_->readCount() == 0 ? 0 : readCount_; }
  void setReadCount(std::size_t count);
  void countRead() { setReadCount(readCount() - 1); }

  // The host.

  void readBytes(std::span<std::byte> bytes, const Image::BytesArguments& arguments);
  void writeBytes(std::span<const std::byte> bytes, const Image::BytesArguments& arguments);
  template <class T>
  void write(std::span<const T> values, DataLayout dataLayout);
  template <class T>
  std::vector<T> read(DataLayout dataLayout);

 private:
  struct HostLayout;
  HostLayout check(std::size_t bytes, const Image::BytesArguments& arguments, std::string_view action);
  std::size_t elements() const;

  Ref<ArrayImplementation> array_;
  ImageDescriptor descriptor_;
  std::size_t firstImage_ = 0;
  std::size_t firstChannel_ = 0;
  Ref<ImageImplementation> parent_;
  std::size_t readCount_ = 1;
  std::string label_;
};

/// The object behind a handle. @throws Error (invalidArgument) for nil.
ImageImplementation& implementation(const Image& image);

/// The images of a batch as one that holds them all, when they lie one after another in one array; nil otherwise. It is
/// for those who look after the reads of the images themselves: it counts its own.
Image asOneImage(const ImageBatch& batch);

/// A temporary image `offset` bytes into a block, which is not its own to give back.
Image makePlacedImage(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor, Ref<Storage> block,
                      std::size_t offset);

}  // namespace metalloid::detail
