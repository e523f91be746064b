#include "image_conformance/image_trial.hpp"

#include <metalloid/nn_reduce.hpp>

#include <cmath>

namespace metalloid::image_conformance {
namespace {

using enum ImageFeatureChannelFormat;

enum class Axis { row, column, channels, spatial };

/// A region of the source, whole or not, and a result that is larger than what is written.
template <class Kernel, Axis axis>
void reduce(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(13);
  // A few values, so that there are ties.
  const auto& x = t.source("sourceImage", t.variant().format, w, h, c,
                           [&] { return (static_cast<double>(t.random().below(64)) - 32) / 8; });
  Region region = regionNoClip;
  if (t.random().coin())
    region = {{t.random().below(w), t.random().below(h), 0}, {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const std::size_t offset = t.random().coin() ? 4 : 0;
  const bool overX = axis == Axis::row || axis == Axis::spatial, overY = axis == Axis::column || axis == Axis::spatial;
  const auto& y = t.result("destinationImage", (overX ? 1 : w) + t.random().below(2), (overY ? 1 : h),
                           (axis == Axis::channels ? 1 : c) + 4);
  t.run([&](const Device& device, CommandBuffer& commands) {
    Kernel kernel(device);
    kernel.clipRectSource = region;
    kernel.sourceFeatureChannelOffset = offset;
    kernel.destinationFeatureChannelOffset = 4;
    if constexpr (requires { kernel.weight; }) kernel.weight = -0.75F;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, 2);  // sums of multiples of 1/8 are exact; a division or a weight rounds
}

template <bool isDivided>
void weightedSum(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(25);
  const auto& x = t.source("primaryImage", w, h, c);
  const auto& weights = t.source("secondaryImage", t.variant().format, w, h, c,
                                 [&] { return t.random().below(3) == 0 ? 0 : t.random().uniform(-1, 1); });
  const auto& y = t.result("destinationImage", w, h, 1);
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNReduceFeatureChannelsAndWeightsSum kernel(device, isDivided);
    kernel.encodeBatch(
        commands, {.primaryImages = x.images(), .secondaryImages = weights.images(), .destinationImages = y.images()});
  });
  // Each addition rounds a partial sum, which with random signs stays below 4 sqrt(c) terms of at most 2.
  t.compare(y, static_cast<double>(c) + 2, 8 * std::sqrt(static_cast<double>(c)));
}

void weightedMean(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(25);
  const auto& x = t.source("primaryImage", w, h, c);
  const auto& weights = t.source("secondaryImage", w, h, c);
  const auto& y = t.result("destinationImage", w, h, 1);
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNReduceFeatureChannelsAndWeightsMean kernel(device);
    kernel.encodeBatch(
        commands, {.primaryImages = x.images(), .secondaryImages = weights.images(), .destinationImages = y.images()});
  });
  t.compare(y, static_cast<double>(c) + 2, 8 / std::sqrt(static_cast<double>(c)));  // as above, divided by c
}

void spatialMeanGradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(25);
  const auto& g = t.source("sourceGradient", 1, 1, c);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& dx = t.result("destinationGradient", w, h, c);
  const Region clip = t.random().coin() ? regionNoClip : Region{{t.random().below(w), 0, 0}, {1, h, 1}};
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNReductionSpatialMeanGradient kernel(device);
    kernel.clipRect = clip;
    kernel.encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  t.compare(dx, 2);
}

}  // namespace

std::vector<Case> reduceCases() {
  return {{"ReduceRowMin", reduce<NNReduceRowMin, Axis::row>},
          {"ReduceRowMax", reduce<NNReduceRowMax, Axis::row>},
          {"ReduceRowMean", reduce<NNReduceRowMean, Axis::row>},
          {"ReduceRowSum", reduce<NNReduceRowSum, Axis::row>},
          {"ReduceColumnMin", reduce<NNReduceColumnMin, Axis::column>},
          {"ReduceColumnMax", reduce<NNReduceColumnMax, Axis::column>},
          {"ReduceColumnMean", reduce<NNReduceColumnMean, Axis::column>},
          {"ReduceColumnSum", reduce<NNReduceColumnSum, Axis::column>},
          {"ReduceFeatureChannelsMin", reduce<NNReduceFeatureChannelsMin, Axis::channels>, {float32, unorm8}},
          {"ReduceFeatureChannelsMax", reduce<NNReduceFeatureChannelsMax, Axis::channels>},
          {"ReduceFeatureChannelsMean", reduce<NNReduceFeatureChannelsMean, Axis::channels>},
          {"ReduceFeatureChannelsSum", reduce<NNReduceFeatureChannelsSum, Axis::channels>},
          {"ReduceArgumentMin", reduce<NNReduceFeatureChannelsArgumentMin, Axis::channels>},
          {"ReduceArgumentMax", reduce<NNReduceFeatureChannelsArgumentMax, Axis::channels>},
          {"ReduceWeightsSum", weightedSum<false>},
          {"ReduceWeightsSumByNonZero", weightedSum<true>},
          {"ReduceWeightsMean", weightedMean},
          {"ReductionSpatialMean", reduce<NNReductionSpatialMean, Axis::spatial>},
          {"ReductionSpatialMeanGradient", spatialMeanGradient}};
}

}  // namespace metalloid::image_conformance
