#include "operands.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool isComplete(const std::vector<float>& values) {
  return std::ranges::none_of(values, [](float value) { return std::isnan(value); });
}

}  // namespace

Operands::Operands(const Device& device, DataType type)
    : device_(device), queue_(device.makeCommandQueue()), type_(type) {}

Matrix Operands::randomMatrix(std::size_t rows, std::size_t columns) {
  Matrix values(device_, {.rows = rows, .columns = columns});
  MatrixRandomPhilox random(
      device_, {.destinationDataType = DataType::float32,
                .seed = seed_++,
                .distributionDescriptor = MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0, 1)});
  CommandBuffer commands = queue_.makeCommandBuffer();
  random.encode(commands, MatrixRandom::MatrixArguments{.destinationMatrix = values});
  commands.commit();
  commands.waitUntilCompleted();
  if (type_ == DataType::float32) return values;
  const Matrix converted(device_, {.rows = rows, .columns = columns, .dataType = type_});
  converted.write(values.read<float>());
  return converted;
}

Matrix Operands::matrix(const std::string& name, std::size_t rows, std::size_t columns) {
  const Matrix values = randomMatrix(rows, columns);
  add({name, {rows, columns}, [values] { return values.read<float>(); }});
  return values;
}

Vector Operands::vector(const std::string& name, std::size_t length) {
  const Vector values(device_, {.length = length});
  values.write(randomMatrix(1, length).read<float>());
  add({name, {length}, [values] { return values.read<float>(); }});
  return values;
}

Image Operands::container(const std::string& name, const std::vector<std::size_t>& shape) {
  const Image image(device_, {.channelFormat = ImageFeatureChannelFormat::float32,
                              .width = shape[2],
                              .height = shape[1],
                              .featureChannels = shape[3],
                              .numberOfImages = shape[0]});
  add({name, shape, [image] { return image.read<float>(); }});
  return image;
}

ImageBatch Operands::images(const std::string& name, const std::vector<std::size_t>& shape) {
  const Image image = container(name, shape);
  image.write(randomMatrix(shape[0] * shape[1] * shape[2], shape[3]).read<float>());
  return image.batchRepresentation();
}

ImageBatch Operands::resultImages(const std::string& name, const std::vector<std::size_t>& shape) {
  const Image image = container(name, shape);
  resultImages_.push_back(image);
  return image.batchRepresentation();
}

Matrix Operands::result(const std::string& name, std::size_t rows, std::size_t columns) {
  const Matrix values(device_, {.rows = rows, .columns = columns, .dataType = type_});
  resultMatrices_.push_back(values);
  add({name, {rows, columns}, [values] { return values.read<float>(); }});
  return values;
}

Vector Operands::resultVector(const std::string& name, std::size_t length) {
  const Vector values(device_, {.length = length});
  resultVectors_.push_back(values);
  add({name, {length}, [values] { return values.read<float>(); }});
  return values;
}

void Operands::spoilResults() const {
  for (const Matrix& matrix : resultMatrices_) {
    matrix.write(std::vector<float>(matrix.rows() * matrix.columns(), kNaN));
  }
  for (const Image& image : resultImages_) image.write(std::vector<float>(image.read<float>().size(), kNaN));
  for (const Vector& vector : resultVectors_) vector.write(std::vector<float>(vector.length(), kNaN));
}

bool Operands::resultsAreComplete() const {
  return std::ranges::all_of(resultMatrices_, [](const Matrix& matrix) { return isComplete(matrix.read<float>()); }) &&
         std::ranges::all_of(resultImages_, [](const Image& image) { return isComplete(image.read<float>()); }) &&
         std::ranges::all_of(resultVectors_, [](const Vector& vector) { return isComplete(vector.read<float>()); });
}

double Operands::bytes(std::size_t elements) const { return static_cast<double>(elements * sizeOfDataType(type_)); }

}  // namespace benchmark_program
