#include "core/array_implementation.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>

#include <utility>

namespace metalloid {

using detail::ArrayImplementation;
using detail::ArrayLayout;

namespace detail {

ArrayImplementation& implementation(const Matrix& matrix) {
  if (!matrix) throw Error(ErrorCode::invalidArgument, "The matrix is nil.");
  return static_cast<ArrayImplementation&>(*matrix.implementation());
}

}  // namespace detail

Matrix::Matrix(const Device& device, const MatrixDescriptor& descriptor)
    : Handle(detail::makeRef<ArrayImplementation>(
          ArrayImplementation::Kind::matrix, detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)),
          ArrayLayout::of(descriptor))) {}

Matrix::Matrix(const Buffer& buffer, const MatrixDescriptor& descriptor) : Matrix(buffer, 0, descriptor) {}

Matrix::Matrix(const Buffer& buffer, std::size_t offset, const MatrixDescriptor& descriptor)
    : Handle(detail::makeRef<ArrayImplementation>(ArrayImplementation::Kind::matrix, buffer, offset,
                                                  ArrayLayout::of(descriptor))) {}

Device Matrix::device() const { return detail::implementation(*this).device().handle(); }
std::size_t Matrix::rows() const { return detail::implementation(*this).layout().rows; }
std::size_t Matrix::columns() const { return detail::implementation(*this).layout().columns; }
std::size_t Matrix::matrices() const { return detail::implementation(*this).layout().matrices; }
DataType Matrix::dataType() const { return detail::implementation(*this).layout().type; }
std::size_t Matrix::rowBytes() const { return detail::implementation(*this).layout().rowBytes; }
std::size_t Matrix::matrixBytes() const { return detail::implementation(*this).layout().matrixBytes; }
std::size_t Matrix::offset() const { return detail::implementation(*this).offset(); }
Buffer Matrix::data() const {
  const Buffer& buffer = detail::implementation(*this).buffer();
  detail::implementation(*this).address();  // the first access makes the storage
  return buffer;
}
std::size_t Matrix::resourceSize() const { return detail::implementation(*this).layout().storageBytes(); }
void Matrix::synchronize(CommandBuffer& commandBuffer) const {
  detail::requireSynchronizable(detail::implementation(*this), commandBuffer);
}
void Matrix::write(std::span<const float> values) const { detail::implementation(*this).write(values); }
void Matrix::write(std::span<const double> values) const { detail::implementation(*this).write(values); }
void Matrix::write(std::span<const std::uint32_t> values) const { detail::implementation(*this).write(values); }
void Matrix::write(std::span<const std::int32_t> values) const { detail::implementation(*this).write(values); }
void Matrix::write(std::span<const std::uint8_t> values) const { detail::implementation(*this).write(values); }
template <class T>
std::vector<T> Matrix::read() const {
  return detail::implementation(*this).read<T>();
}
std::string Matrix::label() const { return detail::implementation(*this).label(); }
void Matrix::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

template std::vector<float> Matrix::read() const;
template std::vector<double> Matrix::read() const;
template std::vector<std::uint32_t> Matrix::read() const;
template std::vector<std::int32_t> Matrix::read() const;
template std::vector<std::uint8_t> Matrix::read() const;

TemporaryMatrix::TemporaryMatrix(CommandBuffer& commandBuffer, const MatrixDescriptor& descriptor)
    : Matrix(detail::makeTemporary(ArrayImplementation::Kind::matrix, commandBuffer, ArrayLayout::of(descriptor))) {}

std::size_t TemporaryMatrix::readCount() const { return detail::implementation(*this).readCount(); }
void TemporaryMatrix::setReadCount(std::size_t count) const { detail::implementation(*this).setReadCount(count); }
void TemporaryMatrix::prefetchStorage(CommandBuffer& commandBuffer,
                                      std::span<const MatrixDescriptor> matrixDescriptorList) {
  std::vector<ArrayLayout> layouts;
  for (const auto& descriptor : matrixDescriptorList) layouts.push_back(ArrayLayout::of(descriptor));
  detail::prefetchStorage(commandBuffer, layouts);
}

}  // namespace metalloid
