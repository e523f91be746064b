#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include <metalloid/metalloid.hpp>

namespace benchmark_program {

/// A tensor of a case by name, so that other programs can check their formulas with the same values.
struct NamedTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::function<std::vector<float>()> read;
};

/// Makes the matrices and vectors of a case. Sources are normal random numbers by seed, never zeros, which would hide
/// what is not read.
class Operands {
 public:
  Operands(const metalloid::Device& device, metalloid::DataType type);

  /// Sources, of mean 0 and variance 1; matrices in the problem's type, vectors in float32 with values that the
  /// problem's type has, so that programs whose vectors are of that type compute with the same numbers.
  metalloid::Matrix matrix(const std::string& name, std::size_t rows, std::size_t columns);
  metalloid::Vector vector(const std::string& name, std::size_t length);

  /// Images of one size in one block, float32, in the order [image][row][column][channel].
  metalloid::ImageBatch images(const std::string& name, const std::vector<std::size_t>& shape);
  metalloid::ImageBatch resultImages(const std::string& name, const std::vector<std::size_t>& shape);

  /// Results.
  metalloid::Matrix result(const std::string& name, std::size_t rows, std::size_t columns);
  metalloid::Vector resultVector(const std::string& name, std::size_t length);

  /// Fills every result with NaN: what a kernel leaves out cannot pass for a value of an earlier run.
  void spoilResults() const;

  /// Whether no result holds a NaN.
  bool resultsAreComplete() const;

  void add(NamedTensor tensor) { tensors_.push_back(std::move(tensor)); }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

  const metalloid::Device& device() const { return device_; }
  metalloid::DataType type() const { return type_; }

  /// Bytes of a matrix with as many elements.
  double bytes(std::size_t elements) const;

 private:
  metalloid::Matrix randomMatrix(std::size_t rows, std::size_t columns);
  metalloid::Image container(const std::string& name, const std::vector<std::size_t>& shape);

  metalloid::Device device_;
  metalloid::CommandQueue queue_;
  metalloid::DataType type_;
  std::size_t seed_ = 1;
  std::vector<NamedTensor> tensors_;
  std::vector<metalloid::Matrix> resultMatrices_;
  std::vector<metalloid::Vector> resultVectors_;
  std::vector<metalloid::Image> resultImages_;
};

}  // namespace benchmark_program
