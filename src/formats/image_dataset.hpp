#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace metalloid::formats {

/// Grey images with one label each.
struct LabelledImages {
  std::vector<std::uint8_t> pixels;  ///< [count, rows, columns], row-major; 0 is the background.
  std::vector<std::uint8_t> labels;  ///< [count]

  std::size_t count() const noexcept { return labels.size(); }
};

/// A data set in the form that MNIST made common.
struct ImageDataset {
  LabelledImages train;
  LabelledImages test;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t classes = 0;
  std::vector<std::string> classNames;  ///< One per class; the numbers where nobody knows names.
};

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr const char* kDebianFashionMnist = "/usr/share/datasets/fashion-mnist";

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`,
/// each with or without `.gz`, from `directory`.
///
/// `classes` defaults to the largest label plus one. An absent or damaged file, counts that differ, images of different
/// sizes and labels out of range throw an Error that names the file with actual and expected values.
ImageDataset loadImageDataset(const std::filesystem::path& directory, std::optional<std::size_t> classes = {});

}  // namespace metalloid::formats
