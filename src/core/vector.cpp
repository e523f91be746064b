#include "core/array_implementation.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>
#include <metalloid/vector.hpp>

#include <utility>

namespace metalloid {

using detail::ArrayImplementation;
using detail::ArrayLayout;

namespace detail {

ArrayImplementation& implementation(const Vector& vector) {
  if (!vector) throw Error(ErrorCode::invalidArgument, "The vector is nil.");
  return static_cast<ArrayImplementation&>(*vector.implementation());
}

}  // namespace detail

Vector::Vector(const Device& device, const VectorDescriptor& descriptor)
    : Handle(detail::makeRef<ArrayImplementation>(
          ArrayImplementation::Kind::vector, detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)),
          ArrayLayout::of(descriptor))) {}

Vector::Vector(const Buffer& buffer, const VectorDescriptor& descriptor) : Vector(buffer, 0, descriptor) {}

Vector::Vector(const Buffer& buffer, std::size_t offset, const VectorDescriptor& descriptor)
    : Handle(detail::makeRef<ArrayImplementation>(ArrayImplementation::Kind::vector, buffer, offset,
                                                  ArrayLayout::of(descriptor))) {}

Device Vector::device() const { return detail::implementation(*this).device().handle(); }
std::size_t Vector::length() const { return detail::implementation(*this).layout().columns; }
std::size_t Vector::vectors() const { return detail::implementation(*this).layout().matrices; }
DataType Vector::dataType() const { return detail::implementation(*this).layout().type; }
std::size_t Vector::vectorBytes() const { return detail::implementation(*this).layout().rowBytes; }
std::size_t Vector::offset() const { return detail::implementation(*this).offset(); }
Buffer Vector::data() const {
  const Buffer& buffer = detail::implementation(*this).buffer();
  detail::implementation(*this).address();  // the first access makes the storage
  return buffer;
}
std::size_t Vector::resourceSize() const { return detail::implementation(*this).layout().storageBytes(); }
void Vector::synchronize(CommandBuffer& commandBuffer) const {
  detail::requireSynchronizable(detail::implementation(*this), commandBuffer);
}
void Vector::write(std::span<const float> values) const { detail::implementation(*this).write(values); }
void Vector::write(std::span<const double> values) const { detail::implementation(*this).write(values); }
void Vector::write(std::span<const std::uint32_t> values) const { detail::implementation(*this).write(values); }
void Vector::write(std::span<const std::int32_t> values) const { detail::implementation(*this).write(values); }
void Vector::write(std::span<const std::uint8_t> values) const { detail::implementation(*this).write(values); }
template <class T>
std::vector<T> Vector::read() const {
  return detail::implementation(*this).read<T>();
}
std::string Vector::label() const { return detail::implementation(*this).label(); }
void Vector::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

template std::vector<float> Vector::read() const;
template std::vector<double> Vector::read() const;
template std::vector<std::uint32_t> Vector::read() const;
template std::vector<std::int32_t> Vector::read() const;
template std::vector<std::uint8_t> Vector::read() const;

TemporaryVector::TemporaryVector(CommandBuffer& commandBuffer, const VectorDescriptor& descriptor)
    : Vector(detail::makeTemporary(ArrayImplementation::Kind::vector, commandBuffer, ArrayLayout::of(descriptor))) {}

std::size_t TemporaryVector::readCount() const { return detail::implementation(*this).readCount(); }
void TemporaryVector::setReadCount(std::size_t count) const { detail::implementation(*this).setReadCount(count); }
void TemporaryVector::prefetchStorage(CommandBuffer& commandBuffer, std::span<const VectorDescriptor> descriptorList) {
  std::vector<ArrayLayout> layouts;
  for (const auto& descriptor : descriptorList) layouts.push_back(ArrayLayout::of(descriptor));
  detail::prefetchStorage(commandBuffer, layouts);
}

}  // namespace metalloid
