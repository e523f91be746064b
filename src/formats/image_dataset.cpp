#include "formats/image_dataset.hpp"

#include "core/format.hpp"
#include "formats/file_writer.hpp"
#include "formats/idx.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <future>
#include <system_error>
#include <utility>

namespace metalloid::formats {
namespace {

namespace fs = std::filesystem;

// Fashion-MNIST is recognised by its 10,000 test labels, because MNIST has files of the same names and sizes.
constexpr std::uint32_t kFashionMnistTestLabelsCrc32 = 0x242BC73F;
constexpr std::array kFashionMnistNames{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                        "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

fs::path locate(const fs::path& directory, const std::string& name) {
  for (const char* extension : {"", ".gz"}) {
    fs::path path = directory / (name + extension);
    std::error_code ignored;
    if (fs::exists(path, ignored)) return path;
  }
  throw Error(ErrorCode::malformedFile,
              fmt::format("IDX file \"{0}\" does not exist, neither does \"{0}.gz\". Debian's package "
                          "dataset-fashion-mnist (apt-get install dataset-fashion-mnist) puts one into \"{1}\".",
                          (directory / name).string(), kDebianFashionMnist));
}

struct Part {
  fs::path imagesPath, labelsPath;
  IdxArray images, labels;
};

Part locatePart(const fs::path& directory, const std::string& prefix) {
  return {locate(directory, prefix + "-images-idx3-ubyte"), locate(directory, prefix + "-labels-idx1-ubyte"), {}, {}};
}

void readPart(Part& part) {
  part.labels = readIdx(part.labelsPath, kIdxLabels);
  part.images = readIdx(part.imagesPath, kIdxImages);
  if (part.images.shape[0] != part.labels.shape[0]) {
    throw Error(ErrorCode::malformedFile,
                fmt::format("IDX file \"{}\" holds {} images, but \"{}\" holds {} labels.", part.imagesPath.string(),
                            part.images.shape[0], part.labelsPath.string(), part.labels.shape[0]));
  }
  if (part.images.bytes.empty()) {
    throw Error(
        ErrorCode::malformedFile,
        fmt::format("IDX file \"{}\" holds no pixels: it declares {} images of {} x {}.", part.imagesPath.string(),
                    part.images.shape[0], part.images.shape[1], part.images.shape[2]));
  }
}

void checkSameImageSize(const Part& train, const Part& test) {
  const auto& expected = train.images.shape;
  const auto& actual = test.images.shape;
  if (actual[1] != expected[1] || actual[2] != expected[2]) {
    throw Error(ErrorCode::malformedFile,
                fmt::format("IDX file \"{}\" holds images of {} x {}, but those of \"{}\" are {} x {}.",
                            test.imagesPath.string(), actual[1], actual[2], train.imagesPath.string(), expected[1],
                            expected[2]));
  }
}

void checkLabels(const Part& part, std::size_t classes) {
  const auto& labels = part.labels.bytes;
  const auto outside = std::find_if(labels.begin(), labels.end(), [=](std::uint8_t label) { return label >= classes; });
  if (outside == labels.end()) return;
  throw Error(ErrorCode::malformedFile,
              fmt::format("IDX file \"{}\" has the label {} at position {}, but with {} classes labels are 0 to {}.",
                          part.labelsPath.string(), *outside, outside - labels.begin(), classes, classes - 1));
}

std::vector<std::string> namesFor(const ImageDataset& dataset) {
  const bool fashion = dataset.classes == kFashionMnistNames.size() &&
                       crc32Of(std::as_bytes(std::span(dataset.test.labels))) == kFashionMnistTestLabelsCrc32;
  if (fashion) return {kFashionMnistNames.begin(), kFashionMnistNames.end()};
  std::vector<std::string> numbers(dataset.classes);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::to_string(i);
  return numbers;
}

}  // namespace

ImageDataset loadImageDataset(const fs::path& directory, std::optional<std::size_t> classes) {
  if (classes && *classes == 0) {
    throw Error(ErrorCode::invalidArgument, "The number of classes of a data set is 0, but at least 1 is needed.");
  }
  Part train = locatePart(directory, "train");
  Part test = locatePart(directory, "t10k");
  // Inflating is most of a start-up: the two parts go side by side (one after the other where no thread is to be had).
  auto reading = std::async(std::launch::async | std::launch::deferred, [&] { readPart(test); });
  readPart(train);
  reading.get();
  checkSameImageSize(train, test);

  ImageDataset dataset;
  dataset.rows = train.images.shape[1];
  dataset.columns = train.images.shape[2];
  // The test set does not get a say: a class that nothing trains is a damaged file or a caller's explicit wish.
  dataset.classes =
      classes ? *classes : std::size_t{*std::max_element(train.labels.bytes.begin(), train.labels.bytes.end())} + 1;
  checkLabels(train, dataset.classes);
  checkLabels(test, dataset.classes);
  dataset.train = {std::move(train.images.bytes), std::move(train.labels.bytes)};
  dataset.test = {std::move(test.images.bytes), std::move(test.labels.bytes)};
  dataset.classNames = namesFor(dataset);
  return dataset;
}

}  // namespace metalloid::formats
