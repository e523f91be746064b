#include "training/array_parts.hpp"

#include "core/image_implementation.hpp"

namespace metalloid::training {

Matrix rowsOf(const Image& images) {
  auto& container = detail::implementation(images);
  container.address();  // the first access makes the storage
  const std::size_t columns = images.height() * images.width() * images.featureChannels();
  const Matrix rows(
      container.array().buffer(),
      {.rows = images.numberOfImages(), .columns = columns, .rowBytes = columns * sizeOfDataType(DataType::float32)});
  rows.setLabel(images.label());
  return rows;
}

}  // namespace metalloid::training
