#include "backends/cuda/cuda_test_device.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/matrix_multiplication.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

/// Products that are large enough, or narrow enough, to take ways of their own, which tests of small ones do not reach.
namespace metalloid {
namespace {

using testing::CudaTest;

struct Case {
  const char* what;
  MatrixMultiplication::Descriptor product;
  std::string way;  // the beginning of its name
};

constexpr const char* kSplit = "split precision";
constexpr const char* kNarrow = "few outputs";

const Case kCases[] = {
    {"leading products of pairs of stages, and a stage that is left over",
     {.resultRows = 1100, .resultColumns = 1000, .interiorColumns = 4128},
     kSplit},
    {"both factors turned",
     {.transposeLeft = true, .resultRows = 1100, .resultColumns = 1000, .interiorColumns = 4100},
     kSplit},
    {"slices of the terms",
     {.transposeLeft = true, .resultRows = 511, .resultColumns = 509, .interiorColumns = 8192},
     kSplit},
    {"few rows, so that the other factor is split on the way",
     {.transposeRight = true, .resultRows = 100, .resultColumns = 4000, .interiorColumns = 4096, .alpha = 0.5},
     kSplit},
    {"the same with the other factor turned",
     {.resultRows = 128, .resultColumns = 4096, .interiorColumns = 4000},
     kSplit},
    {"few outputs, terms shared by several blocks",
     {.resultRows = 100, .resultColumns = 10, .interiorColumns = 3001, .alpha = 2},
     kNarrow},
    {"few outputs, many rows", {.resultRows = 5000, .resultColumns = 16, .interiorColumns = 300}, kNarrow},
    {"one output", {.resultRows = 33, .resultColumns = 1, .interiorColumns = 257}, kNarrow},
    {"weights of few outputs, rows shared by several blocks",
     {.transposeLeft = true, .resultRows = 500, .resultColumns = 10, .interiorColumns = 3000},
     kNarrow},
    {"inputs of few outputs",
     {.transposeRight = true, .resultRows = 1001, .resultColumns = 777, .interiorColumns = 9, .alpha = -1},
     kNarrow},
};

std::vector<float> valuesOf(std::size_t count, double phase) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(std::sin(phase + 0.7 * static_cast<double>(i)));
  return values;
}

/// The product on a device, of factors or of their magnitudes; `way` becomes what computed it.
std::vector<float> productOn(const Device& device, const MatrixMultiplication::Descriptor& product, bool ofMagnitudes,
                             std::string* way = nullptr) {
  const auto factor = [&](std::size_t rows, std::size_t columns, bool isTransposed, double phase) {
    const Matrix matrix(device, {.rows = isTransposed ? columns : rows, .columns = isTransposed ? rows : columns});
    std::vector<float> values = valuesOf(rows * columns, phase);
    if (ofMagnitudes) {
      for (float& value : values) value = std::abs(value);
    }
    matrix.write(values);
    return matrix;
  };
  const Matrix left = factor(product.resultRows, product.interiorColumns, product.transposeLeft, 1);
  const Matrix right = factor(product.interiorColumns, product.resultColumns, product.transposeRight, 2);
  const Matrix result(device, {.rows = product.resultRows, .columns = product.resultColumns});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  MatrixMultiplication(device, product)
      .encode(commands, {.leftMatrix = left, .rightMatrix = right, .resultMatrix = result});
  if (way) *way = commands.explain().at(0).implementation;
  commands.commit();
  commands.waitUntilCompleted();
  return result.read<float>();
}

using ProductTest = CudaTest;

TEST_F(ProductTest, EachWayIsAsCloseAsFloat32) {
  const Device cpu = Device::named("cpu");
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.what);
    std::string way;
    const std::vector<float> computed = productOn(device, c.product, false, &way);
    if (c.way == kNarrow || device.description().find("compute capability 9.0") != std::string::npos) {
      EXPECT_EQ(way.substr(0, c.way.size()), c.way);
    }
    const std::vector<float> expected = productOn(cpu, c.product, false);
    const std::vector<float> magnitudes = productOn(cpu, c.product, true);
    double largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double difference = std::abs(double{computed[i]} - double{expected[i]});
      largest = std::max(largest, difference / std::max(1e-30, std::abs(double{magnitudes[i]})));
    }
    EXPECT_LT(largest, 1e-6);  // a few roundings of either side
    EXPECT_EQ(computed, productOn(device, c.product, false)) << "other bits";
  }
}

}  // namespace
}  // namespace metalloid
