#pragma once

#include <metalloid/buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace metalloid::training {

/// A tensor that is trained: its name, its size and where it lies in the arena. A vector has one row.
struct Parameter {
  std::string name;
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool isVector = false;
  std::size_t offset = 0;  ///< In elements.

  std::size_t elements() const { return rows * columns; }
};

/// All float32 parameters of a network in one buffer and all their gradients, in the same order, in another, so that
/// one optimizer encode updates many tensors. Weight matrices come first: they alone are regularized. The gaps that
/// align the tensors hold zeros, whose gradients are zeros, and stay zeros.
class ParameterArena {
 public:
  /// A parameter to be laid out: rows and columns of a weight matrix, or a vector's length with rows = 0.
  struct Request {
    std::string name;
    std::size_t rows = 0;
    std::size_t columns = 0;
  };

  ParameterArena(const Device& device, const std::vector<Request>& requests);

  /// In the order of the requests.
  const std::vector<Parameter>& parameters() const { return parameters_; }

  Matrix valueMatrix(std::size_t index) const { return matrix(values_, index, ""); }
  Matrix gradientMatrix(std::size_t index) const { return matrix(gradients_, index, "gradient of "); }
  Vector valueVector(std::size_t index) const { return vector(values_, index, ""); }
  Vector gradientVector(std::size_t index) const { return vector(gradients_, index, "gradient of "); }

  /// What one optimizer encode updates; nil where there is no such parameter.
  struct Group {
    Vector values;
    Vector gradients;
  };
  Group weights() const { return group(0, weightElements_); }
  Group others() const { return group(weightElements_, elements_); }

  /// Elements of the whole arena, gaps included, and of the part that holds the weight matrices.
  std::size_t elements() const { return elements_; }
  std::size_t weightElements() const { return weightElements_; }

  /// Elements of all parameters, without gaps.
  std::size_t trainedElements() const;

  /// Everything as one vector, for checkpoints.
  Vector values() const { return values_; }
  Vector gradients() const { return gradients_; }

 private:
  Matrix matrix(const Vector& storage, std::size_t index, const char* role) const;
  Vector vector(const Vector& storage, std::size_t index, const char* role) const;
  Group group(std::size_t begin, std::size_t end) const;

  std::vector<Parameter> parameters_;
  std::size_t weightElements_ = 0;
  std::size_t elements_ = 0;
  Vector values_;
  Vector gradients_;
};

}  // namespace metalloid::training
