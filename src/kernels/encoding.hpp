#pragma once

#include "core/array_implementation.hpp"
#include "core/buffer_implementation.hpp"
#include "core/image_implementation.hpp"
#include "core/state_implementation.hpp"
#include "operations/operation.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/image.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// The matrices that one encode processes.
struct Batch {
  std::size_t start = 0;
  std::size_t count = 1;
};

/// A rectangle of pixels.
struct PixelRect {
  std::size_t x = 0;
  std::size_t y = 0;
  std::size_t width = 0;
  std::size_t height = 0;

  friend bool operator==(const PixelRect&, const PixelRect&) = default;
};

/// One encode call of a kernel: checks every operand, resolves origins, regions and batches to views, and records the
/// operations. Until `record` nothing has happened; whatever throws before leaves the command buffer as it was.
class Encoding {
 public:
  /// A matrix operand after its own checks: not nil, right device, usable temporary, origin inside.
  class MatrixOperand {
   public:
    std::size_t rows() const;     ///< available from the origin on
    std::size_t columns() const;  ///< available from the origin on
    std::size_t matrices() const;
    DataType type() const;
    bool given() const { return array_ != nullptr; }

    /// The region of `rows` x `columns` at the origin. @throws Error (invalidArgument) when the matrix is too small for
    /// it.
    operations::MatrixView view(std::size_t rows, std::size_t columns, Batch batch);

   private:
    friend class Encoding;
    Encoding* encoding_ = nullptr;
    ArrayImplementation* array_ = nullptr;  // nil: an optional operand that was not given
    std::string_view role_;
    Origin origin_;
    bool isResult_ = false;
  };

  /// A vector operand after its own checks.
  class VectorOperand {
   public:
    bool given() const { return array_ != nullptr; }
    std::size_t length() const;  ///< available from the origin on
    std::size_t vectors() const;
    DataType type() const;

    /// `length` elements at the origin; an empty view when it was not given. As an input one vector is shared by the
    /// whole batch; a result needs one for each matrix. @throws Error (invalidArgument) when the vector is too short or
    /// there are too few.
    operations::VectorView view(std::size_t length, Batch batch);

   private:
    friend class Encoding;
    Encoding* encoding_ = nullptr;
    ArrayImplementation* array_ = nullptr;
    std::string_view role_;
    std::size_t origin_ = 0;
    bool isResult_ = false;
  };

  /// The images of a batch operand after its own checks: not empty, not nil, of one size and format, right device,
  /// usable temporaries.
  class ImageOperand {
   public:
    bool given() const { return images_ > 0; }
    std::size_t images() const { return images_; }
    const ImageDescriptor& descriptor() const { return descriptor_; }  ///< Of one image.
    std::size_t width() const { return descriptor_.width; }
    std::size_t height() const { return descriptor_.height; }
    std::size_t channels() const { return descriptor_.featureChannels; }

    /// The pixels of `rect` and `channels` channels from `firstChannel` on. @throws Error (invalidArgument) when they
    /// are not there.
    operations::ImageView view(PixelRect rect, std::size_t firstChannel, std::size_t channels);
    /// All pixels.
    operations::ImageView view(std::size_t firstChannel, std::size_t channels);
    /// Everything.
    operations::ImageView view();

   private:
    friend class Encoding;
    Encoding* encoding_ = nullptr;
    std::size_t use_ = 0;
    ImageDescriptor descriptor_;
    std::size_t images_ = 0;
    std::byte* data_ = nullptr;          // of the first image
    std::vector<std::byte*> addresses_;  // of all, unless each follows the last
    std::size_t pixelBytes_ = 0;
    std::size_t rowBytes_ = 0;
    std::size_t imageBytes_ = 0;
  };

  /// @throws Error (invalidArgument) for a command buffer that is nil, committed or of another device.
  Encoding(const Kernel& kernel, const CommandBuffer& commandBuffer);

  // Operands: `role` is the argument's label. Sources are read, results written; an update is both.

  MatrixOperand source(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand result(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand update(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalSource(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalResult(std::string_view role, const Matrix& matrix, Origin origin = {});
  MatrixOperand optionalUpdate(std::string_view role, const Matrix& matrix, Origin origin = {});
  VectorOperand source(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand result(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand update(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalSource(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalResult(std::string_view role, const Vector& vector, Origin origin = {});
  VectorOperand optionalUpdate(std::string_view role, const Vector& vector, Origin origin = {});

  // Images: from containers of several, `count` images from `firstImage` on.

  ImageOperand source(std::string_view role, const ImageBatch& images, std::size_t firstImage = 0,
                      std::size_t count = 1);
  ImageOperand result(std::string_view role, const ImageBatch& images, std::size_t firstImage = 0,
                      std::size_t count = 1);
  /// An operand without images when the batch is empty.
  ImageOperand optionalSource(std::string_view role, const ImageBatch& images);
  ImageOperand optionalResult(std::string_view role, const ImageBatch& images);

  /// The encode reads a state: checks it, and lowers the read count of a temporary one. Its vectors and images are
  /// operands like others.
  void reads(std::string_view role, const State& state);

  /// @throws Error (invalidArgument) for modes that only padding kernels have.
  void requireEdgeMode(ImageEdgeMode edgeMode) const;

  /// A region of the source that may lie outside of it: where it does, a copy is made that has what the edge mode says.
  /// @throws as `requireEdgeMode`.
  operations::ImageView region(ImageOperand& operand, Offset offset, std::size_t width, std::size_t height,
                               std::size_t firstChannel, std::size_t channels, ImageEdgeMode edgeMode);

  /// A library-owned buffer that the operation reads, such as PReLU slopes; kept alive with the command buffer.
  operations::VectorView constant(const Buffer& buffer, std::size_t length, DataType type);

  /// The matrices from `start` on, at most `size`, that every operand has. @throws Error when `start` lies beyond them.
  Batch batch(std::size_t start, std::size_t size, std::initializer_list<const MatrixOperand*> operands) const;

  // Types.

  /// Every given operand has one of `types`.
  void requireType(const MatrixOperand& operand, std::initializer_list<DataType> types) const;
  void requireType(const VectorOperand& operand, std::initializer_list<DataType> types) const;
  /// The rule of the layers: all matrices share one type of float32, float16, bFloat16.
  void requireOneFloatType(std::initializer_list<const MatrixOperand*> operands) const;
  /// The rule of the layers' vectors: the matrices' type or float32.
  void requireVectorTypes(DataType matrixType, std::initializer_list<const VectorOperand*> operands) const;

  /// The result may be exactly the source's region; without this, and in every other way, a result must not overlap
  /// another operand.
  void allowInPlace(const MatrixOperand& result, const MatrixOperand& source);
  void allowInPlace(const VectorOperand& result, const VectorOperand& source);

  /// An operation that comes before those of `record`.
  void prepend(operations::Operation operation) { prologue_.push_back(std::move(operation)); }
  /// Scratch on the device for the operations of this encode.
  std::byte* scratch(std::size_t bytes);

  /// Checks overlaps, records the operation, keeps the operands alive and lowers the read counts of temporaries: once
  /// for each distinct object.
  void record(operations::Operation operation);
  /// The same for several, in order.
  void record(std::vector<operations::Operation> operations);

  /// Throws Error (invalidArgument), with the encode as context.
  [[noreturn]] void refuse(std::string message) const;

  /// The kernel's class and label, for messages.
  const std::string& kernelName() const { return kernelName_; }

 private:
  enum class Access { read, write, readWrite };

  struct Use {
    ArrayImplementation* array;
    std::string_view role;
    Access access;
    operations::MatrixView region;  // what is touched, once a view was asked for; a vector is a matrix of one row
    bool hasRegion = false;
  };

  struct Allowance {
    const ArrayImplementation* result;
    std::string_view resultRole;
    std::string_view sourceRole;
  };

  /// The images of one operand.
  struct ImageUse {
    std::string_view role;
    Access access;
    std::vector<Ref<ImageImplementation>> images;
    operations::ImageView region;
    bool hasRegion = false;

    std::string name() const { return describe(role, *images.front()); }
  };

  ImageOperand images(std::string_view role, const ImageBatch& images, std::size_t firstImage, std::size_t count,
                      Access access);
  /// `name` is called for a message only: there is one for each image of a batch.
  void checkTemporary(const std::function<std::string()>& name, const CommandBufferImplementation* owner,
                      std::size_t readCount) const;
  void checkImageOverlaps() const;
  void finish();
  void finishImages();

  ArrayImplementation* check(std::string_view role, const Handle& handle, bool optional, Access access);
  void checkOrigin(std::string_view role, const ArrayImplementation& array, Origin origin) const;
  MatrixOperand matrix(std::string_view role, const Matrix& matrix, Origin origin, bool optional, Access access);
  VectorOperand vector(std::string_view role, const Vector& vector, Origin origin, bool optional, Access access);
  Use& useOf(std::string_view role, const ArrayImplementation& array);
  void checkOverlaps() const;
  bool isAllowed(const Use& result, const Use& other) const;
  static std::string describe(std::string_view role, const ArrayImplementation& array);
  static std::string describe(std::string_view role, const ImageImplementation& image);

  const Kernel& kernel_;
  CommandBufferImplementation& commandBuffer_;
  std::string kernelName_;
  std::vector<Use> uses_;
  std::vector<Ref<BufferImplementation>> constants_;
  std::vector<Allowance> allowances_;
  std::vector<ImageUse> imageUses_;
  std::vector<Ref<StateImplementation>> states_;
  std::vector<operations::Operation> prologue_;
  std::vector<Ref<Storage>> scratch_;
};

}  // namespace metalloid::detail
