#pragma once

#include "support/random.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/image.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace metalloid::image_conformance {

/// How the images of a batch lie in memory.
enum class Storage {
  block,      ///< one after another
  separate,   ///< each by itself
  channels,   ///< as some of the channels of larger images
  container,  ///< in one container, in another order
};
inline constexpr Storage kStorages[] = {Storage::block, Storage::separate, Storage::channels, Storage::container};

/// One combination of what a kernel must not care about.
struct Variant {
  Storage storage = Storage::block;
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float32;
  std::size_t images = 2;
  std::uint64_t seed = 0;
  bool isLarge = false;  ///< sizes that are worth sharing among threads
};

struct Range {
  double lower = -2;
  double upper = 2;
};

/// One operand, the same on the device under test and on the reference: images, or a vector.
class Operand {
 public:
  const ImageBatch& images() const { return onReference_ ? referenceImages_ : images_; }
  const Vector& vector() const { return onReference_ ? referenceVector_ : vector_; }
  /// The values before the run as stored: images one after another, [y][x][c].
  const std::vector<double>& values() const { return values_; }

 private:
  friend class ImageTrial;
  std::string name_;
  bool isResult_ = false;
  bool onReference_ = false;
  ImageBatch images_, referenceImages_;
  Vector vector_, referenceVector_;
  DataType type_ = DataType::float32;
  std::vector<double> values_;
};

/// One kernel, one device, one variant: the kernel runs on the device, twice and with 1 to 4 threads, each time to
/// equal bits, and on the reference device; every element of every result is compared, those among them that no kernel
/// may write.
class ImageTrial {
 public:
  ImageTrial(const Device& device, const Variant& variant);

  const Variant& variant() const { return variant_; }
  testing::Random& random() { return random_; }
  std::size_t images() const { return variant_.images; }
  bool isLarge() const { return variant_.isLarge; }
  /// A size from 1 to `most`, four times as much for large variants.
  std::size_t size(std::size_t most);
  /// One of the arguments.
  template <class T>
  T oneOf(std::initializer_list<T> choices) {
    return choices.begin()[random_.below(choices.size())];
  }

  // Operands. Formats are the variant's unless one is given.

  Operand& source(std::string name, std::size_t width, std::size_t height, std::size_t channels, Range range = {});
  Operand& source(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                  std::size_t channels, const std::function<double()>& draw);
  Operand& result(std::string name, std::size_t width, std::size_t height, std::size_t channels);
  Operand& result(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                  std::size_t channels);
  Operand& sourceVector(std::string name, std::size_t length, Range range = {});
  Operand& resultVector(std::string name, std::size_t length);

  /// Encodes and executes: called with the device of each run. Kernels are made inside; operands give what belongs to
  /// the device.
  void run(const std::function<void(const Device& device, CommandBuffer& commands)>& encode);

  /// After `run`: each element may differ from the reference by `terms` roundings to float32 of `magnitude` (by default
  /// the largest value of the operand), and one to the format of storage.
  void compare(const Operand& operand, double terms, double magnitude = 0);

 private:
  Operand& make(std::string name, ImageFeatureChannelFormat format, std::size_t width, std::size_t height,
                std::size_t channels, bool isResult, const std::function<double()>& draw);
  ImageBatch batchOn(const Device& device, const ImageDescriptor& one, const std::vector<double>& values,
                     std::uint64_t seed) const;

  Device device_;
  Device reference_;
  Variant variant_;
  testing::Random random_;
  std::deque<Operand> operands_;
};

/// A kernel under test.
struct Case {
  std::string name;
  void (*run)(ImageTrial&);
  /// float32 and float16 unless said; results of normalized formats are compared as well.
  std::vector<ImageFeatureChannelFormat> formats = {ImageFeatureChannelFormat::float32,
                                                    ImageFeatureChannelFormat::float16};
};

/// Each family has a function that lists its cases, in <family>_cases.cpp; `allCases` in main.cpp calls them.
std::vector<Case> arithmeticCases();
std::vector<Case> batchNormalizationCases();
std::vector<Case> convolutionCases();
std::vector<Case> dropoutCases();
std::vector<Case> localNormalizationCases();
std::vector<Case> lossCases();
std::vector<Case> neuronCases();
std::vector<Case> reduceCases();
std::vector<Case> shapeCases();
std::vector<Case> softMaxCases();
std::vector<Case> poolingCases();
std::vector<Case> upsamplingCases();

}  // namespace metalloid::image_conformance
