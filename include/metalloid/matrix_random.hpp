#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/data_type.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace metalloid {

/// How random numbers are distributed. Source: MPSMatrixRandomDistribution.
enum class MatrixRandomDistribution : std::uint64_t {
  default_ = 1,  ///< The generator's bits as they are, uInt32.
  uniform = 2,   ///< Uniform on [minimum, maximum), float32.
  normal = 3,    ///< Normal, where asked for truncated, float32.
};

/// A distribution and its parameters. Source: MPSMatrixRandomDistributionDescriptor.
struct MatrixRandomDistributionDescriptor {
  MatrixRandomDistribution distributionType = MatrixRandomDistribution::default_;  ///< Default default_.
  /// Smallest value of the uniform and the truncated normal distribution. Default -infinity: none.
  float minimum = -std::numeric_limits<float>::infinity();
  /// Bound of the uniform distribution, itself not reached; largest value of the truncated normal one. Default
  /// +infinity: none.
  float maximum = std::numeric_limits<float>::infinity();
  float mean = 0;               ///< Of the normal distribution before truncation. Default 0.
  float standardDeviation = 1;  ///< Of the normal distribution before truncation. Default 1.

  /// The generator's bits as they are.
  static MatrixRandomDistributionDescriptor defaultDistributionDescriptor() { return {}; }

  /// Uniform on [minimum, maximum).
  static MatrixRandomDistributionDescriptor uniformDistributionDescriptor(float minimum, float maximum);

  /// Normal.
  static MatrixRandomDistributionDescriptor normalDistributionDescriptor(float mean, float standardDeviation);

  /// Normal, restricted to [minimum, maximum] and renormalized: a true truncated normal, with no mass piled up at the
  /// bounds. Mean and standard deviation are those before truncation.
  static MatrixRandomDistributionDescriptor normalDistributionDescriptor(float mean, float standardDeviation,
                                                                         float minimum, float maximum);

  friend bool operator==(const MatrixRandomDistributionDescriptor&,
                         const MatrixRandomDistributionDescriptor&) = default;
};

/// Base of the random number generators: each encode fills a vector or a matrix and continues the generator's stream.
///
/// Every element of every matrix k = batchStart ... batchStart + min(batchSize, matrices - batchStart) - 1 is written
/// (of a Vector: every vector), in the stream's order row by row, whatever the strides. Types and distributions:
/// uInt32 with the default distribution, float32 with uniform and normal. Source: MPSMatrixRandom.
class MatrixRandom : public Kernel {
 public:
  /// What a generator is made with.
  struct Descriptor {
    DataType destinationDataType = DataType::uInt32;                 ///< uInt32 or float32.
    std::size_t seed = 0;                                            ///< Chooses the stream.
    MatrixRandomDistributionDescriptor distributionDescriptor = {};  ///< Must suit the type.
  };

  std::size_t batchStart = 0;   ///< First matrix or vector written.
  std::size_t batchSize = all;  ///< Most matrices or vectors written; 0 writes none.

  /// The type of every destination.
  DataType destinationDataType() const { return destinationDataType_; }
  /// The distribution.
  MatrixRandomDistribution distributionType() const { return distribution_.distributionType; }
  /// Metalloid extension: the distribution with its parameters.
  const MatrixRandomDistributionDescriptor& distributionDescriptor() const { return distribution_; }

  /// The operand of `encode` for vectors.
  struct VectorArguments {
    Vector destinationVector;  ///< Of destinationDataType.
  };
  /// The operand of `encode` for matrices.
  struct MatrixArguments {
    Matrix destinationMatrix;  ///< Of destinationDataType.
  };
  using Kernel::encode;
  /// Records the kernel and advances the stream. @throws Error (invalidArgument) for a destination that does not fit.
  virtual void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) = 0;
  /// Records the kernel and advances the stream. @throws Error (invalidArgument) for a destination that does not fit.
  virtual void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) = 0;

 protected:
  /// @throws Error (invalidArgument) for a nil device, a type that does not suit the distribution, and parameters
  /// without a meaning.
  MatrixRandom(const Device& device, std::string_view className, const Descriptor& descriptor);
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  DataType destinationDataType_;
  MatrixRandomDistributionDescriptor distribution_;
};

/// Random numbers from Philox 4x32-10, a counter-based generator: the same numbers on every device, for any number of
/// threads. (J. Salmon, M. Moraes, R. Dror, D. Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.)
///
/// Key (seed, seed >> 32), counter (block, block >> 32, 0, 0), four words a block. Element e of an encode takes word
/// e mod 4 of block nextBlock + e / 4; then nextBlock moves past the last block used, so that no two encodes share one.
///
///     default   value = word
///     uniform   value = minimum + (maximum - minimum) * t,   t = (word >> 9) * 2^-23; never maximum
///     normal    value = mean + standardDeviation * Phi^-1(t),  t = ((word >> 9) + 1/2) * 2^-23
///     truncated the same, with t mapped into [Phi(lower), Phi(upper)]
///
/// Equal bits with Apple's generator are not promised. Source: MPSMatrixRandomPhilox.
class MatrixRandomPhilox : public MatrixRandom {
 public:
  /// uInt32, seed 0. @throws Error (invalidArgument) for a nil device.
  explicit MatrixRandomPhilox(const Device& device);

  /// @throws Error (invalidArgument) for a nil device, a type that does not suit the distribution, and parameters
  /// without a meaning: a standard deviation below 0, minimum above maximum, an unbounded uniform distribution, NaN.
  MatrixRandomPhilox(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive, its place in the stream included. @throws Error (malformedFile) when it is another
  /// class or not allowed.
  MatrixRandomPhilox(Unarchiver& coder, const Device& device);

  /// Metalloid extension: the block of the stream where the next encode begins, advanced by each encode. A checkpoint
  /// stores it; setting it back repeats numbers. It wraps at 2^64.
  std::uint64_t nextBlock = 0;

  /// Metalloid extension: the seed.
  std::size_t seed() const { return seed_; }

  using MatrixRandom::encode;
  void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) override;
  void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) override;

  /// A copy with every setting, at the same place in the stream, for `device` or, when that is nil, for the same
  /// device.
  MatrixRandomPhilox copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  std::size_t seed_ = 0;
};

/// Not available: every constructor throws Error (unsupported). The stream of Apple's MTGP32 does not follow from the
/// generator's published seeding, so that nothing made here would be that stream; `MatrixRandomPhilox` is what to use.
/// The class stands here so that code which names it compiles and says so. Source: MPSMatrixRandomMTGP32.
class MatrixRandomMTGP32 : public MatrixRandom {
 public:
  /// @throws Error (unsupported) always.
  explicit MatrixRandomMTGP32(const Device& device);
  /// @throws Error (unsupported) always.
  MatrixRandomMTGP32(const Device& device, const Descriptor& descriptor);
  /// @throws Error (unsupported) always.
  MatrixRandomMTGP32(Unarchiver& coder, const Device& device);

  using MatrixRandom::encode;
  void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) override;
  void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) override;
  void synchronizeState(CommandBuffer& commandBuffer) const;  ///< @throws Error (unsupported) always.
};

}  // namespace metalloid
