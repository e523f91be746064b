#include "formats/image_dataset.hpp"

#include "expect_error.hpp"
#include "gzip_bytes.hpp"
#include "idx_bytes.hpp"
#include "temporary_directory.hpp"

#include <gtest/gtest.h>

namespace metalloid::formats {
namespace {

using namespace metalloid::testing;

class ImageDatasetFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    writeFile(directory_ / "train-images-idx3-ubyte.gz", gzip(imageBytes(4, 2, 3)));
    writeFile(directory_ / "train-labels-idx1-ubyte", labelBytes({0, 2, 1, 2}));
    writeFile(directory_ / "t10k-images-idx3-ubyte", imageBytes(2, 2, 3));
    writeFile(directory_ / "t10k-labels-idx1-ubyte.gz", gzip(labelBytes({1, 0})));
  }

  void expectMalformed(std::initializer_list<std::string> fragments) {
    expectError(ErrorCode::malformedFile, fragments, [this] { loadImageDataset(directory_.path()); });
  }

  TemporaryDirectory directory_;
};

TEST_F(ImageDatasetFiles, loads) {
  const ImageDataset dataset = loadImageDataset(directory_.path());
  EXPECT_EQ(dataset.rows, 2u);
  EXPECT_EQ(dataset.columns, 3u);
  EXPECT_EQ(dataset.classes, 3u);
  EXPECT_EQ(dataset.train.count(), 4u);
  EXPECT_EQ(dataset.train.pixels.size(), 24u);
  EXPECT_EQ(dataset.train.labels, (std::vector<std::uint8_t>{0, 2, 1, 2}));
  EXPECT_EQ(dataset.test.count(), 2u);
  EXPECT_EQ(dataset.classNames, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(loadImageDataset(directory_.path(), 7).classes, 7u);
}

TEST_F(ImageDatasetFiles, refusesCountsThatDiffer) {
  writeFile(directory_ / "train-labels-idx1-ubyte", labelBytes({0, 2, 1}));
  expectMalformed({"train-images-idx3-ubyte.gz\" holds 4 images", "train-labels-idx1-ubyte\" holds 3 labels."});
}

TEST_F(ImageDatasetFiles, refusesLabelsOutOfRange) {
  writeFile(directory_ / "t10k-labels-idx1-ubyte.gz", gzip(labelBytes({1, 3})));
  expectMalformed({"t10k-labels-idx1-ubyte.gz\" has the label 3 at position 1, but with 3 classes labels are 0 to 2."});
  expectError(ErrorCode::malformedFile, {"train-labels-idx1-ubyte\" has the label 2 at position 1", "0 to 1"},
              [this] { loadImageDataset(directory_.path(), 2); });
  expectError(ErrorCode::invalidArgument, {"number of classes of a data set is 0"},
              [this] { loadImageDataset(directory_.path(), 0); });
}

TEST_F(ImageDatasetFiles, refusesImagesOfTwoSizes) {
  writeFile(directory_ / "t10k-images-idx3-ubyte", imageBytes(2, 3, 2));
  expectMalformed({"t10k-images-idx3-ubyte\" holds images of 3 x 2", "are 2 x 3."});
}

TEST_F(ImageDatasetFiles, refusesImagesWithoutPixels) {
  writeFile(directory_ / "t10k-images-idx3-ubyte", imageBytes(0, 2, 3));
  writeFile(directory_ / "t10k-labels-idx1-ubyte.gz", gzip(labelBytes({})));
  expectMalformed({"t10k-images-idx3-ubyte\" holds no pixels"});
}

TEST_F(ImageDatasetFiles, refusesMislabelledFiles) {
  writeFile(directory_ / "train-labels-idx1-ubyte", imageBytes(4, 2, 3));
  expectMalformed({"train-labels-idx1-ubyte\" has the magic number 0x00000803", "labels need 0x00000801"});
}

TEST_F(ImageDatasetFiles, saysHowToGetAbsentFiles) {
  std::filesystem::remove(directory_ / "t10k-images-idx3-ubyte");
  expectMalformed({(directory_ / "t10k-images-idx3-ubyte").string(), "apt-get install dataset-fashion-mnist"});
}

TEST(ImageDataset, loadsDebiansFashionMnist) {
  if (!std::filesystem::exists(kDebianFashionMnist)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const ImageDataset dataset = loadImageDataset(kDebianFashionMnist);
  EXPECT_EQ(dataset.train.count(), 60000u);
  EXPECT_EQ(dataset.test.count(), 10000u);
  EXPECT_EQ(dataset.rows, 28u);
  EXPECT_EQ(dataset.columns, 28u);
  ASSERT_EQ(dataset.classes, 10u);
  EXPECT_EQ(dataset.classNames.front(), "T-shirt/top");
  EXPECT_EQ(dataset.classNames.back(), "Ankle boot");
}

}  // namespace
}  // namespace metalloid::formats
