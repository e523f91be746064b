#include "kernels/encoding.hpp"

#include "core/format.hpp"
#include "core/log.hpp"
#include "kernels/overlap.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>

namespace metalloid::detail {

using operations::MatrixView;
using operations::VectorView;

Encoding::Encoding(const Kernel& kernel, const CommandBuffer& commandBuffer)
    : kernel_(kernel),
      commandBuffer_([&]() -> CommandBufferImplementation& {
        try {
          auto& implementation = detail::implementation(commandBuffer);
          implementation.requireOpen("take more work");
          return implementation;
        } catch (const Error& error) {
          throw error.during(fmt::format("encoding {}", kernel.name()));
        }
      }()),
      kernelName_(kernel.name()) {
  if (&commandBuffer_.device() != &implementation(kernel.device())) {
    refuse(fmt::format("The command buffer is on device {}, but {} is on device {}.", commandBuffer_.device().name(),
                       kernelName_, kernel.device().name()));
  }
}

void Encoding::refuse(std::string message) const {
  throw Error(ErrorCode::invalidArgument, std::move(message)).during(fmt::format("encoding {}", kernelName_));
}

std::string Encoding::describe(std::string_view role, const ArrayImplementation& array) {
  return fmt::format("{} ({})", array.name(), role);
}

void Encoding::checkTemporary(const std::function<std::string()>& name, const CommandBufferImplementation* owner,
                              std::size_t readCount) const {
  if (!owner) refuse(fmt::format("{} belongs to a command buffer that is committed or gone.", name()));
  if (owner != &commandBuffer_) refuse(fmt::format("{} belongs to another command buffer.", name()));
  if (readCount == 0)
    refuse(fmt::format("{} has been read as often as its readCount allowed: its contents are gone.", name()));
}

ArrayImplementation* Encoding::check(std::string_view role, const Handle& handle, bool optional, Access access) {
  if (!handle) {
    if (optional) return nullptr;
    refuse(fmt::format("The {} is nil.", role));
  }
  auto& array = static_cast<ArrayImplementation&>(*handle.implementation());
  if (&array.device() != &commandBuffer_.device()) {
    refuse(fmt::format("{} is on device {}, but the command buffer is on device {}.", describe(role, array),
                       array.device().name(), commandBuffer_.device().name()));
  }
  if (array.isTemporary()) checkTemporary([&] { return describe(role, array); }, array.owner(), array.readCount());
  uses_.push_back({.array = &array, .role = role, .access = access, .region = {}});
  return &array;
}

void Encoding::checkOrigin(std::string_view role, const ArrayImplementation& array, Origin origin) const {
  const auto& layout = array.layout();
  if (array.kind() == ArrayImplementation::Kind::vector) {
    if (origin.y != 0 || origin.z != 0) {
      refuse(fmt::format("The origin of {} is ({}, {}, {}), but y and z must be 0 for a vector.", describe(role, array),
                         origin.x, origin.y, origin.z));
    }
    if (origin.x > layout.columns) {
      refuse(fmt::format("The origin of {} is element {}, but the vector has {} elements.", describe(role, array),
                         origin.x, layout.columns));
    }
    return;
  }
  if (origin.z != 0)
    refuse(fmt::format("The origin of {} has z = {}, but z must be 0.", describe(role, array), origin.z));
  if (origin.x > layout.rows || origin.y > layout.columns) {
    refuse(fmt::format("The origin of {} is row {}, column {}, but the matrix has {} rows and {} columns.",
                       describe(role, array), origin.x, origin.y, layout.rows, layout.columns));
  }
}

Encoding::MatrixOperand Encoding::matrix(std::string_view role, const Matrix& matrix, Origin origin, bool optional,
                                         Access access) {
  MatrixOperand operand;
  operand.encoding_ = this;
  operand.array_ = check(role, matrix, optional, access);
  operand.role_ = role;
  operand.origin_ = origin;
  operand.isResult_ = access != Access::read;
  if (operand.array_) checkOrigin(role, *operand.array_, origin);
  return operand;
}

Encoding::VectorOperand Encoding::vector(std::string_view role, const Vector& vector, Origin origin, bool optional,
                                         Access access) {
  VectorOperand operand;
  operand.encoding_ = this;
  operand.array_ = check(role, vector, optional, access);
  operand.role_ = role;
  operand.origin_ = origin.x;
  operand.isResult_ = access != Access::read;
  if (operand.array_) checkOrigin(role, *operand.array_, origin);
  return operand;
}

Encoding::MatrixOperand Encoding::source(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, false, Access::read);
}
Encoding::MatrixOperand Encoding::result(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, false, Access::write);
}
Encoding::MatrixOperand Encoding::update(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, false, Access::readWrite);
}
Encoding::MatrixOperand Encoding::optionalSource(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, true, Access::read);
}
Encoding::MatrixOperand Encoding::optionalResult(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, true, Access::write);
}
Encoding::MatrixOperand Encoding::optionalUpdate(std::string_view role, const Matrix& m, Origin origin) {
  return matrix(role, m, origin, true, Access::readWrite);
}
Encoding::VectorOperand Encoding::source(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, false, Access::read);
}
Encoding::VectorOperand Encoding::result(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, false, Access::write);
}
Encoding::VectorOperand Encoding::update(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, false, Access::readWrite);
}
Encoding::VectorOperand Encoding::optionalSource(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, true, Access::read);
}
Encoding::VectorOperand Encoding::optionalResult(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, true, Access::write);
}
Encoding::VectorOperand Encoding::optionalUpdate(std::string_view role, const Vector& v, Origin origin) {
  return vector(role, v, origin, true, Access::readWrite);
}

std::size_t Encoding::MatrixOperand::rows() const { return array_->layout().rows - origin_.x; }
std::size_t Encoding::MatrixOperand::columns() const { return array_->layout().columns - origin_.y; }
std::size_t Encoding::MatrixOperand::matrices() const { return array_->layout().matrices; }
DataType Encoding::MatrixOperand::type() const { return array_->layout().type; }
std::size_t Encoding::VectorOperand::length() const { return array_->layout().columns - origin_; }
std::size_t Encoding::VectorOperand::vectors() const { return array_->layout().matrices; }
DataType Encoding::VectorOperand::type() const { return array_->layout().type; }

Encoding::Use& Encoding::useOf(std::string_view role, const ArrayImplementation& array) {
  return *std::ranges::find_if(uses_, [&](const Use& use) { return use.array == &array && use.role == role; });
}

MatrixView Encoding::MatrixOperand::view(std::size_t rows, std::size_t columns, Batch batch) {
  if (!array_) return {};
  const auto& layout = array_->layout();
  if (rows > this->rows() || columns > this->columns()) {
    encoding_->refuse(fmt::format(
        "{} has {} rows and {} columns from its origin ({}, {}) on, but {} needs {} rows and {} columns of it.",
        encoding_->describe(role_, *array_), this->rows(), this->columns(), origin_.x, origin_.y,
        encoding_->kernelName_, rows, columns));
  }
  const MatrixView view{.data = array_->address() + batch.start * layout.matrixBytes + origin_.x * layout.rowBytes +
                                origin_.y * sizeOfDataType(layout.type),
                        .rows = rows,
                        .columns = columns,
                        .rowBytes = layout.rowBytes,
                        .matrices = batch.count,
                        .matrixBytes = layout.matrixBytes,
                        .type = layout.type};
  Use& use = encoding_->useOf(role_, *array_);
  use.region = view;
  use.hasRegion = true;
  return view;
}

VectorView Encoding::VectorOperand::view(std::size_t length, Batch batch) {
  if (!array_) return {};
  const auto& layout = array_->layout();
  if (length > this->length()) {
    encoding_->refuse(fmt::format("{} has {} elements from its origin {} on, but {} needs {} of it.",
                                  encoding_->describe(role_, *array_), this->length(), origin_, encoding_->kernelName_,
                                  length));
  }
  // One input vector serves the whole batch; results, and inputs that come in numbers, go with their matrix.
  const bool shared = layout.matrices == 1 && (!isResult_ || batch.count <= 1);
  if (!shared && batch.start + batch.count > layout.matrices) {
    encoding_->refuse(fmt::format("{} holds {} vectors, but {} processes matrices {} to {} and needs one for each.",
                                  encoding_->describe(role_, *array_), layout.matrices, encoding_->kernelName_,
                                  batch.start, batch.start + batch.count - 1));
  }
  const VectorView view{.data = array_->address() + (shared ? 0 : batch.start * layout.matrixBytes) +
                                origin_ * sizeOfDataType(layout.type),
                        .length = length,
                        .vectorBytes = shared ? 0 : layout.matrixBytes,
                        .type = layout.type};
  Use& use = encoding_->useOf(role_, *array_);
  use.region = {.data = view.data,
                .rows = 1,
                .columns = length,
                .rowBytes = layout.rowBytes,
                .matrices = shared ? 1 : batch.count,
                .matrixBytes = view.vectorBytes,
                .type = view.type};
  use.hasRegion = true;
  return view;
}

VectorView Encoding::constant(const Buffer& buffer, std::size_t length, DataType type) {
  auto& implementation = detail::implementation(buffer);
  constants_.emplace_back(&implementation);
  return {.data = implementation.address(), .length = length, .vectorBytes = 0, .type = type};
}

Batch Encoding::batch(std::size_t start, std::size_t size, std::initializer_list<const MatrixOperand*> operands) const {
  std::size_t available = metalloid::all;
  for (const auto* operand : operands) {
    if (operand->given()) available = std::min(available, operand->matrices());
  }
  if (start > available) {
    refuse(
        fmt::format("The batchStart of {} is {}, but its operands hold {} matrices.", kernelName_, start, available));
  }
  return {.start = start, .count = std::min(size, available - start)};
}

namespace {

std::string listed(std::initializer_list<DataType> types) {
  std::string text;
  for (const DataType type : types) text += (text.empty() ? "" : ", ") + std::string(name(type));
  return text;
}

}  // namespace

void Encoding::requireType(const MatrixOperand& operand, std::initializer_list<DataType> types) const {
  if (!operand.given() || std::ranges::count(types, operand.type()) > 0) return;
  refuse(fmt::format("{} is of type {}, but {} takes {} there.", describe(operand.role_, *operand.array_),
                     name(operand.type()), kernelName_, listed(types)));
}

void Encoding::requireType(const VectorOperand& operand, std::initializer_list<DataType> types) const {
  if (!operand.given() || std::ranges::count(types, operand.type()) > 0) return;
  refuse(fmt::format("{} is of type {}, but {} takes {} there.", describe(operand.role_, *operand.array_),
                     name(operand.type()), kernelName_, listed(types)));
}

void Encoding::requireOneFloatType(std::initializer_list<const MatrixOperand*> operands) const {
  const MatrixOperand* first = nullptr;
  for (const auto* operand : operands) {
    if (!operand->given()) continue;
    requireType(*operand, {DataType::float32, DataType::float16, DataType::bFloat16});
    if (!first) first = operand;
    if (operand->type() != first->type()) {
      refuse(fmt::format("{} is of type {}, but {} is of type {}; {} takes matrices of one type.",
                         describe(operand->role_, *operand->array_), name(operand->type()),
                         describe(first->role_, *first->array_), name(first->type()), kernelName_));
    }
  }
}

void Encoding::requireVectorTypes(DataType matrixType, std::initializer_list<const VectorOperand*> operands) const {
  for (const auto* operand : operands) {
    if (matrixType == DataType::float32) {
      requireType(*operand, {DataType::float32});
    } else {
      requireType(*operand, {matrixType, DataType::float32});
    }
  }
}

void Encoding::allowInPlace(const MatrixOperand& result, const MatrixOperand& source) {
  allowances_.push_back({result.array_, result.role_, source.role_});
}

void Encoding::allowInPlace(const VectorOperand& result, const VectorOperand& source) {
  allowances_.push_back({result.array_, result.role_, source.role_});
}

namespace {

/// The same elements; strides that no element depends on do not matter.
bool isSameRegion(MatrixView a, MatrixView b) {
  for (auto* const view : {&a, &b}) {
    if (view->matrices <= 1) view->matrixBytes = 0;
    if (view->rows <= 1) view->rowBytes = 0;
  }
  return a == b;
}

}  // namespace

bool Encoding::isAllowed(const Use& result, const Use& other) const {
  return isSameRegion(result.region, other.region) && std::ranges::any_of(allowances_, [&](const Allowance& allowance) {
           return allowance.result == result.array && allowance.resultRole == result.role &&
                  allowance.sourceRole == other.role;
         });
}

void Encoding::checkOverlaps() const {
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    for (std::size_t j = i + 1; j < uses_.size(); ++j) {
      const Use& a = uses_[i];
      const Use& b = uses_[j];
      if (a.access == Access::read && b.access == Access::read) continue;
      if (!a.hasRegion || !b.hasRegion || !overlap(a.region, b.region)) continue;
      if (isAllowed(a, b) || isAllowed(b, a)) continue;
      refuse(fmt::format("{} and {} overlap in memory, which {} does not allow.", describe(a.role, *a.array),
                         describe(b.role, *b.array), kernelName_));
    }
  }
}

void Encoding::record(operations::Operation operation) {
  std::vector<operations::Operation> operations;
  operations.push_back(std::move(operation));
  record(std::move(operations));
}

void Encoding::record(std::vector<operations::Operation> operations) {
  checkOverlaps();
  checkImageOverlaps();
  // From here on nothing throws but for memory; what could have been refused has been.
  const bool verbose = contains(kernel_.options, KernelOptions::verbose);
  for (auto* const part : {&prologue_, &operations}) {
    for (auto& operation : *part) {
      commandBuffer_.record(std::move(operation), kernelName_);
      if (verbose || logIsOn()) logChoice(commandBuffer_);
    }
  }
  finish();
}

void Encoding::finish() {
  for (const Use& use : uses_) {
    if (!use.array->isTemporary()) {
      commandBuffer_.use(implementation(use.array->buffer()));
    }
  }
  for (const auto& constant : constants_) commandBuffer_.use(*constant);
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    const Use& use = uses_[i];
    if (!use.array->isTemporary() || use.access == Access::write) continue;
    // One encode counts once for each distinct object, in however many roles it is read.
    const bool seen =
        std::any_of(uses_.begin(), uses_.begin() + static_cast<std::ptrdiff_t>(i),
                    [&](const Use& earlier) { return earlier.array == use.array && earlier.access != Access::write; });
    if (!seen) use.array->countRead();
  }
  finishImages();
}

}  // namespace metalloid::detail
