#include "training/batch_loader.hpp"

#include "training/sample_order.hpp"
#include "training/tiny_images.hpp"

#include <metalloid/command_queue.hpp>

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

TEST(PixelNormalization, GivesMean0AndDeviation1) {
  const auto dataset = testing::tinyDataset();
  const auto normalization = PixelNormalization::of(dataset.train.pixels);
  double sum = 0;
  double sumOfSquares = 0;
  for (const std::uint8_t pixel : dataset.train.pixels) {
    const double value = static_cast<double>(pixel) * normalization.scale + normalization.offset;
    sum += value;
    sumOfSquares += value * value;
  }
  const auto count = static_cast<double>(dataset.train.pixels.size());
  EXPECT_NEAR(sum / count, 0, 1e-6);  // the rounding of scale and offset to float32
  EXPECT_NEAR(sumOfSquares / count, 1, 1e-6);
}

TEST(PixelNormalization, OfConstantPixelsIs0) {
  const auto normalization = PixelNormalization::of(std::vector<std::uint8_t>(100, 77));
  EXPECT_EQ(77 * normalization.scale + normalization.offset, 0);
}

class BatchLoaderTest : public ::testing::Test {
 protected:
  const formats::ImageDataset dataset_ = testing::tinyDataset();
  const Device device_ = Device::named("cpu");
  const PixelNormalization normalization_{.scale = 0.5f, .offset = -3};
  BatchLoader loader_{device_, {.image = {6, 6, 1}}, 20, normalization_};

  /// Reads the pass to its end and compares every value with the images.
  std::vector<std::size_t> expectPass(const BatchLoader::Pass& pass) {
    std::vector<std::size_t> rows;
    std::size_t position = pass.first;
    loader_.begin(dataset_.train, pass);
    while (const auto batch = loader_.next()) {
      rows.push_back(batch->rows());
      const auto inputs = batch->inputs.read<float>();
      const auto labels = batch->labels.read<std::uint32_t>();
      for (std::size_t row = 0; row < batch->rows(); ++row, ++position) {
        const std::size_t image = pass.order[position];
        EXPECT_EQ(labels[row], dataset_.train.labels[image]);
        for (std::size_t i = 0; i < 36; ++i) {
          EXPECT_EQ(inputs[row * 36 + i], dataset_.train.pixels[image * 36 + i] * 0.5f - 3);
        }
      }
    }
    return rows;
  }
};

TEST_F(BatchLoaderTest, GivesEveryImageInItsOrderAndThenTheRest) {
  const auto order = shuffledOrder(1, 2, dataset_.train.count());
  EXPECT_EQ(expectPass({.order = order, .first = 0, .batchSize = 20}),
            (std::vector<std::size_t>{20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 3}));
}

TEST_F(BatchLoaderTest, BeginsInTheMiddle) {
  const auto order = shuffledOrder(1, 2, dataset_.train.count());
  EXPECT_EQ(expectPass({.order = order, .first = 180, .batchSize = 20}), (std::vector<std::size_t>{20, 3}));
}

TEST_F(BatchLoaderTest, LeavesOutARestThatIsTooSmall) {
  const auto order = naturalOrder(61);
  EXPECT_EQ(expectPass({.order = order, .first = 0, .batchSize = 20, .minimumRows = 2}),
            (std::vector<std::size_t>{20, 20, 20}));
  EXPECT_EQ(expectPass({.order = naturalOrder(62), .first = 0, .batchSize = 20, .minimumRows = 2}),
            (std::vector<std::size_t>{20, 20, 20, 2}));
}

TEST_F(BatchLoaderTest, DropsAPassThatIsNotFinished) {
  for (int i = 0; i < 50; ++i) {
    loader_.begin(dataset_.train, {.order = naturalOrder(203), .first = 0, .batchSize = 7});
    for (int k = 0; k < i % 4; ++k) EXPECT_TRUE(loader_.next());
    EXPECT_EQ(expectPass({.order = shuffledOrder(1, 2, 41), .first = 0, .batchSize = 20}),
              (std::vector<std::size_t>{20, 20, 1}));
  }
}

TEST_F(BatchLoaderTest, OfNothingEndsAtOnce) {
  EXPECT_EQ(expectPass({.order = {}, .first = 0, .batchSize = 20}), std::vector<std::size_t>{});
}

}  // namespace
}  // namespace metalloid::training
