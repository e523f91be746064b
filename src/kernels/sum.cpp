#include "operations/sum.hpp"

#include "core/checked_size.hpp"
#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/error.hpp>
#include <metalloid/matrix_sum.hpp>

#include <string>
#include <vector>

namespace metalloid {
namespace {

using detail::Encoding;

constexpr std::string_view kNoSources = "The count of a MatrixSum is 0, but it needs at least 1 source.";

/// The element of the offset vector where the pair of index `startIndex` begins.
std::size_t firstOffset(const Encoding& encoding, std::size_t startIndex) {
  const auto first = (detail::CheckedSize(2) * startIndex).value();
  if (!first) {
    encoding.refuse(
        fmt::format("The startIndex of {} is {}, beyond every vector's end.", encoding.kernelName(), startIndex));
  }
  return *first;
}

}  // namespace

MatrixSum::MatrixSum(const Device& device, const Descriptor& descriptor)
    : Kernel(device, "MatrixSum"), descriptor_(descriptor) {
  if (descriptor.count == 0) throw Error(ErrorCode::invalidArgument, std::string(kNoSources));
}

MatrixSum::MatrixSum(Unarchiver& coder, const Device& device) : MatrixSum(device, {.count = 1}) { decode(coder); }

void MatrixSum::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixSum::setNeuronType(CNNNeuronType type, float a, float b, float c) { neuron_.set(type, a, b, c); }

void MatrixSum::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  const auto& [count, rows, columns, transpose] = descriptor_;
  std::vector<std::string> roles;  // outlives the encoding, which refers to them
  roles.reserve(arguments.sourceMatrices.size());
  Encoding encoding(*this, commandBuffer);
  if (arguments.sourceMatrices.size() != count) {
    encoding.refuse(fmt::format("{} has {} sourceMatrices, but its count is {}.", encoding.kernelName(),
                                arguments.sourceMatrices.size(), count));
  }
  std::vector<Encoding::MatrixOperand> sources;
  sources.reserve(count);
  for (const Matrix& matrix : arguments.sourceMatrices) {
    const std::string& role = roles.emplace_back(fmt::format("sourceMatrices[{}]", roles.size()));
    sources.push_back(encoding.source(role, matrix));
  }
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  auto scale = encoding.optionalSource("scaleVector", arguments.scaleVector, {.x = arguments.startIndex});
  auto offsets = encoding.optionalSource("offsetVector", arguments.offsetVector,
                                         {.x = firstOffset(encoding, arguments.startIndex)});
  auto bias = encoding.optionalSource("biasVector", arguments.biasVector);
  for (const auto& source : sources) encoding.requireOneFloatType({&source, &result});
  encoding.requireType(scale, {DataType::float32});
  encoding.requireType(offsets, {DataType::uInt32});
  encoding.requireVectorTypes(result.type(), {&bias});
  if (!transpose && !offsets.given()) {
    for (const auto& source : sources) encoding.allowInPlace(result, source);
  }

  const detail::Batch first{.start = 0, .count = 1};
  operations::MatrixSum operation{.sources = {},
                                  .scale = scale.view(count, first),
                                  .offsets = offsets.view(2 * count, first),
                                  .bias = bias.view(transpose ? rows : columns, first),
                                  .result = result.view(transpose ? columns : rows, transpose ? rows : columns, first),
                                  .rows = rows,
                                  .columns = columns,
                                  .transpose = transpose,
                                  .neuron = neuron_.function()};
  for (auto& source : sources) {
    auto view = source.view(rows, columns, first);  // too small at offset (0, 0) is too small at every offset
    if (offsets.given()) view = source.view(source.rows(), source.columns(), first);
    operation.sources.push_back(view);
  }
  encoding.record(std::move(operation));
}

MatrixSum MatrixSum::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixSum::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("count", descriptor_.count);
  visitor.visit("rows", descriptor_.rows);
  visitor.visit("columns", descriptor_.columns);
  visitor.visit("transpose", descriptor_.transpose);
  visitor.visit("resultMatrixOrigin", resultMatrixOrigin);
  neuron_.visit(visitor);
  if (descriptor_.count == 0) detail::refuseSetting("MatrixSum", "count", kNoSources);
}

}  // namespace metalloid
