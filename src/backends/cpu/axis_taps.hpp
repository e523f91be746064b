#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace metalloid::cpu {

/// A position of the source, and how much of it is taken.
struct AxisTap {
  std::size_t position = 0;
  double weight = 1;
};

/// For each output of a window along one axis the positions that it reads, in ascending order. Two axes together make
/// windows: pooling, enlarging, and the gradients of both.
class AxisTaps {
 public:
  explicit AxisTaps(std::size_t outputs) {
    begins_.reserve(outputs + 1);
    begins_.push_back(0);
    readsOutside_.reserve(outputs);
  }

  /// One more tap of the output that is being made; a position that comes again adds to its weight.
  void add(std::size_t position, double weight) {
    if (taps_.size() > begins_.back() && taps_.back().position == position) {
      taps_.back().weight += weight;
    } else {
      taps_.push_back({position, weight});
    }
  }
  /// Ends the output.
  void finishOutput(bool readsOutside = false) {
    begins_.push_back(taps_.size());
    readsOutside_.push_back(readsOutside);
  }

  std::size_t outputs() const { return readsOutside_.size(); }
  std::size_t taps() const { return taps_.size(); }
  std::span<const AxisTap> operator[](std::size_t output) const {
    return std::span(taps_).subspan(begins_[output], begins_[output + 1] - begins_[output]);
  }
  bool readsOutside(std::size_t output) const { return readsOutside_[output]; }

  /// For each of `count` positions from `first` on the outputs that read it, with the same weights.
  AxisTaps transposed(std::size_t first, std::size_t count) const {
    AxisTaps result(count);
    result.begins_.assign(count + 1, 0);
    result.readsOutside_.assign(count, false);
    const auto forEach = [&](auto&& f) {
      for (std::size_t o = 0; o < outputs(); ++o) {
        for (const AxisTap& tap : (*this)[o]) {
          if (tap.position >= first && tap.position - first < count) f(o, tap.position - first, tap.weight);
        }
      }
    };
    forEach([&](std::size_t, std::size_t position, double) { ++result.begins_[position + 1]; });
    for (std::size_t p = 0; p < count; ++p) result.begins_[p + 1] += result.begins_[p];
    result.taps_.resize(result.begins_.back());
    std::vector<std::size_t> next(result.begins_.begin(), result.begins_.end() - 1);
    forEach([&](std::size_t o, std::size_t position, double weight) { result.taps_[next[position]++] = {o, weight}; });
    return result;
  }

  /// The fewest and the most taps of an output.
  std::size_t fewest() const {
    std::size_t count = outputs() == 0 ? 0 : taps_.size();
    for (std::size_t o = 0; o < outputs(); ++o) count = std::min(count, (*this)[o].size());
    return count;
  }
  std::size_t most() const {
    std::size_t count = 0;
    for (std::size_t o = 0; o < outputs(); ++o) count = std::max(count, (*this)[o].size());
    return count;
  }

 private:
  std::vector<AxisTap> taps_;
  std::vector<std::size_t> begins_;
  std::vector<bool> readsOutside_;
};

}  // namespace metalloid::cpu
