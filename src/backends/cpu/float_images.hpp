#pragma once

#include "backends/cpu/kernels.hpp"
#include "operations/image_copy.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace metalloid::cpu {

/// The images of one operation as float32, for kernels that know no other type: those of another are copied to scratch,
/// results back from it.
class FloatImages {
 public:
  explicit FloatImages(Context& context) : context_(context) {}

  operations::ImageView source(const operations::ImageView& view) {
    if (view.type == DataType::float32) return view;
    const auto copy = scratch(view);
    runSimd(operations::ImageCopy{.source = view, .result = copy}, context_);
    return copy;
  }

  operations::ImageView result(const operations::ImageView& view) {
    if (view.type == DataType::float32) return view;
    results_.emplace_back(scratch(view), view);
    return results_.back().first;
  }

  /// Converts the results.
  void finish() {
    for (const auto& [copy, view] : results_) {
      runSimd(operations::ImageCopy{.source = copy, .result = view}, context_);
    }
  }

  /// Packed images of the same sizes, without values.
  operations::ImageView scratch(const operations::ImageView& like) {
    operations::ImageView view = like;
    view.type = DataType::float32;
    view.addresses.clear();
    view.pixelBytes = like.channels * sizeof(float);
    view.rowBytes = like.width * view.pixelBytes;
    view.imageBytes = like.height * view.rowBytes;
    view.data = context_.scratch.take<std::byte>(like.images * view.imageBytes + 1);  // never null
    return view;
  }

 private:
  Context& context_;
  std::vector<std::pair<operations::ImageView, operations::ImageView>> results_;
};

}  // namespace metalloid::cpu
