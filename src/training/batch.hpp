#pragma once

#include "training/layered_network.hpp"

#include <metalloid/device.hpp>
#include <metalloid/image.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace metalloid::training {

/// Samples with their classes: one a row, and where the network works on images, one an image of the same bytes.
struct Batch {
  Matrix inputs;            ///< float32, rows x inputs
  Vector labels;            ///< uInt32, rows
  ImageBatch images = {};   ///< The inputs as images.
  StateBatch targets = {};  ///< The labels as a loss of images takes them.

  std::size_t rows() const { return inputs.rows(); }
};

/// Where a pass puts what it finds out about each sample; nil: not wanted.
struct SampleResults {
  Vector losses;   ///< Cross entropy, in units of 1/rows of the batch, see `Network`.
  Vector correct;  ///< 1 where the largest logit is that of the label, else 0.
  Matrix logits;   ///< Evaluation only.
};

/// What batches hold.
struct BatchLayout {
  ImageShape image;         ///< Of a sample.
  std::size_t classes = 0;  ///< Above 0: images and targets for so many classes, besides inputs and labels.

  std::size_t inputs() const { return image.elements(); }
};

/// Device memory for one batch after another.
class BatchSlot {
 public:
  BatchSlot(const Device& device, const BatchLayout& layout, std::size_t maximumRows);

  /// Takes samples in, `rows` times the layout's inputs. Waits for the work that reads what was there before.
  void write(std::size_t rows, std::span<const float> inputs, std::span<const std::uint32_t> labels);

  /// The first rows.
  Batch batch(std::size_t rows) const;

  void setLabel(const std::string& label);

 private:
  std::size_t classes_;
  Batch whole_;
  Image oneHot_;          // of all images
  Image weights_;         // 1/rows for each class, shared by all targets
  std::size_t rows_ = 0;  // that the weights are for
};

}  // namespace metalloid::training
