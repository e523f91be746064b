#pragma once

#include "formats/idx_bytes.hpp"
#include "formats/image_dataset.hpp"
#include "formats/temporary_directory.hpp"
#include "math/philox.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace metalloid::testing {

/// Images of 6 x 6 in four classes: noise, and one bright quadrant. A small network tells them apart within an epoch or
/// two, but not at once.
inline formats::LabelledImages tinyImages(std::size_t count, std::uint64_t seed) {
  constexpr std::size_t kSide = 6;
  const math::Philox random{seed};
  std::uint64_t word = 0;
  formats::LabelledImages images;
  for (std::size_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::uint8_t>(random.word(word++) % 4);
    images.labels.push_back(label);
    for (std::size_t row = 0; row < kSide; ++row) {
      for (std::size_t column = 0; column < kSide; ++column) {
        const std::uint32_t quadrant = (row < kSide / 2 ? 0 : 2) + (column < kSide / 2 ? 0 : 1);
        const std::uint32_t light = random.word(word++) % 160 + (quadrant == label ? 60 : 0);
        images.pixels.push_back(static_cast<std::uint8_t>(light));
      }
    }
  }
  return images;
}

/// The numbers of images divide by none of the batch sizes that the tests use.
inline formats::ImageDataset tinyDataset(std::size_t train = 203, std::size_t test = 61) {
  return {.train = tinyImages(train, 1),
          .test = tinyImages(test, 2),
          .rows = 6,
          .columns = 6,
          .classes = 4,
          .classNames = {"0", "1", "2", "3"}};
}

/// The same as IDX files.
inline void writeTinyDataset(const std::filesystem::path& directory, std::size_t train = 203, std::size_t test = 61) {
  const formats::ImageDataset dataset = tinyDataset(train, test);
  const auto write = [&](std::string_view prefix, const formats::LabelledImages& images) {
    const std::string_view pixels(reinterpret_cast<const char*>(images.pixels.data()), images.pixels.size());
    const auto count = static_cast<std::uint32_t>(images.count());
    writeFile(directory / (std::string(prefix) + "-images-idx3-ubyte"), idxBytes(0x803, {count, 6, 6}, pixels));
    writeFile(directory / (std::string(prefix) + "-labels-idx1-ubyte"), labelBytes(images.labels));
  };
  std::filesystem::create_directories(directory);
  write("train", dataset.train);
  write("t10k", dataset.test);
}

}  // namespace metalloid::testing
