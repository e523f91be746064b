#include "graph/kernel_archive.hpp"

#include "core/archive_fields.hpp"
#include "core/format.hpp"
#include "graph/batch_normalization_kernels.hpp"
#include "graph/convolution_gradient_kernel.hpp"
#include "graph/reshape_kernel.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace metalloid::detail {
namespace {

// Settings that a node's kernel has besides those of the kernels in it.

constexpr std::string_view kShape = "NNReshapeShape";
void visitShape(SettingsVisitor& visitor, ReshapeShape& shape) {
  visitor.visit("resultWidth", shape.width);
  visitor.visit("resultHeight", shape.height);
  visitor.visit("resultFeatureChannels", shape.channels);
}

constexpr std::string_view kStatistics = "CNNBatchNormalizationFlags";
void visitStatistics(SettingsVisitor& visitor, bool& calculates) { visitor.visit("calculatesStatistics", calculates); }

template <class T, class Visit>
void write(Archiver& archiver, std::string_view className, T& value, Visit visit) {
  SettingsWriter writer(archiver, className);
  visit(writer, value);
  writer.finish();
}
template <class T, class Visit>
T read(Unarchiver& coder, std::string_view className, Visit visit) {
  T value{};
  SettingsReader reader(coder, className);
  visit(reader, value);
  reader.finish();
  return value;
}

using Made = std::unique_ptr<GraphKernel>;

template <class K>
Made plain(Unarchiver& coder, const Device& device) {
  return single(K(coder, device));
}
template <class K>
Made convolutionGradient(Unarchiver& coder, const Device& device) {
  return std::make_unique<ConvolutionGradientKernel<K>>(K(coder, device), false);
}
Made reshape(Unarchiver& coder, const Device& device) {
  NNReshape kernel(coder, device);
  return std::make_unique<ReshapeKernel>(std::move(kernel), read<ReshapeShape>(coder, kShape, visitShape));
}
Made batchNormalization(Unarchiver& coder, const Device& device) {
  CNNBatchNormalization kernel(coder, device);
  return std::make_unique<BatchNormalizationKernel>(std::move(kernel), read<bool>(coder, kStatistics, visitStatistics));
}
Made batchNormalizationGradient(Unarchiver& coder, const Device& device) {
  CNNBatchNormalizationGradient gradient(coder, device);
  return std::make_unique<BatchNormalizationGradientKernel>(CNNBatchNormalizationStatisticsGradient(coder, device),
                                                            std::move(gradient));
}

struct Number {
  std::size_t least, most;
  bool contains(std::size_t number) const { return least <= number && number <= most; }
};

/// A kernel class and what its filters read.
struct Row {
  std::string_view className;
  Made (*read)(Unarchiver& coder, const Device& device);
  Number images, states;
};

constexpr Number kNone{0, 0}, kOne{1, 1}, kTwo{2, 2}, kPerhapsOne{0, 1}, kSome{1, all};

template <class K>
constexpr Row unary(std::string_view className) {
  return {className, plain<K>, kOne, kNone};
}
template <class K>
constexpr Row gradient(std::string_view className) {
  return {className, plain<K>, kTwo, kOne};
}

/// Every kernel that a node can have.
constexpr Row kRows[] = {
    {"CNNAdd", plain<CNNAdd>, kTwo, kNone},
    {"CNNSubtract", plain<CNNSubtract>, kTwo, kNone},
    {"CNNMultiply", plain<CNNMultiply>, kTwo, kNone},
    {"CNNDivide", plain<CNNDivide>, kTwo, kNone},
    gradient<CNNAddGradient>("CNNAddGradient"),
    gradient<CNNSubtractGradient>("CNNSubtractGradient"),
    gradient<CNNMultiplyGradient>("CNNMultiplyGradient"),
    {"CNNBatchNormalization", batchNormalization, kOne, kNone},
    {"CNNBatchNormalizationGradient", batchNormalizationGradient, kTwo, kOne},
    unary<CNNConvolution>("CNNConvolution"),
    unary<CNNFullyConnected>("CNNFullyConnected"),
    {"CNNConvolutionTranspose", plain<CNNConvolutionTranspose>, kOne, kPerhapsOne},
    {"CNNConvolutionGradient", convolutionGradient<CNNConvolutionGradient>, kTwo, kOne},
    {"CNNFullyConnectedGradient", convolutionGradient<CNNFullyConnectedGradient>, kTwo, kOne},
    {"CNNConvolutionTransposeGradient", convolutionGradient<CNNConvolutionTransposeGradient>, kTwo, kOne},
    unary<CNNDropout>("CNNDropout"),
    gradient<CNNDropoutGradient>("CNNDropoutGradient"),
    unary<CNNGroupNormalization>("CNNGroupNormalization"),
    gradient<CNNGroupNormalizationGradient>("CNNGroupNormalizationGradient"),
    unary<CNNInstanceNormalization>("CNNInstanceNormalization"),
    gradient<CNNInstanceNormalizationGradient>("CNNInstanceNormalizationGradient"),
    unary<CNNSpatialNormalization>("CNNSpatialNormalization"),
    gradient<CNNSpatialNormalizationGradient>("CNNSpatialNormalizationGradient"),
    unary<CNNLocalContrastNormalization>("CNNLocalContrastNormalization"),
    gradient<CNNLocalContrastNormalizationGradient>("CNNLocalContrastNormalizationGradient"),
    unary<CNNCrossChannelNormalization>("CNNCrossChannelNormalization"),
    gradient<CNNCrossChannelNormalizationGradient>("CNNCrossChannelNormalizationGradient"),
    {"CNNLoss", plain<CNNLoss>, kOne, kOne},
    {"NNForwardLoss", plain<NNForwardLoss>, {2, 3}, kNone},
    {"NNLossGradient", plain<NNLossGradient>, {3, 4}, kPerhapsOne},
    unary<NNInitialGradient>("NNInitialGradient"),
    unary<CNNNeuron>("CNNNeuron"),
    gradient<CNNNeuronGradient>("CNNNeuronGradient"),
    unary<CNNPoolingMax>("CNNPoolingMax"),
    gradient<CNNPoolingMaxGradient>("CNNPoolingMaxGradient"),
    unary<CNNPoolingAverage>("CNNPoolingAverage"),
    gradient<CNNPoolingAverageGradient>("CNNPoolingAverageGradient"),
    unary<CNNPoolingL2Norm>("CNNPoolingL2Norm"),
    gradient<CNNPoolingL2NormGradient>("CNNPoolingL2NormGradient"),
    unary<CNNDilatedPoolingMax>("CNNDilatedPoolingMax"),
    gradient<CNNDilatedPoolingMaxGradient>("CNNDilatedPoolingMaxGradient"),
    unary<CNNSoftMax>("CNNSoftMax"),
    gradient<CNNSoftMaxGradient>("CNNSoftMaxGradient"),
    unary<CNNLogSoftMax>("CNNLogSoftMax"),
    gradient<CNNLogSoftMaxGradient>("CNNLogSoftMaxGradient"),
    unary<CNNUpsamplingNearest>("CNNUpsamplingNearest"),
    gradient<CNNUpsamplingNearestGradient>("CNNUpsamplingNearestGradient"),
    unary<CNNUpsamplingBilinear>("CNNUpsamplingBilinear"),
    gradient<CNNUpsamplingBilinearGradient>("CNNUpsamplingBilinearGradient"),
    {"NNConcatenation", plain<NNConcatenation>, kSome, kNone},
    gradient<NNConcatenationGradient>("NNConcatenationGradient"),
    unary<NNReduceRowMin>("NNReduceRowMin"),
    unary<NNReduceRowMax>("NNReduceRowMax"),
    unary<NNReduceRowMean>("NNReduceRowMean"),
    unary<NNReduceRowSum>("NNReduceRowSum"),
    unary<NNReduceColumnMin>("NNReduceColumnMin"),
    unary<NNReduceColumnMax>("NNReduceColumnMax"),
    unary<NNReduceColumnMean>("NNReduceColumnMean"),
    unary<NNReduceColumnSum>("NNReduceColumnSum"),
    unary<NNReduceFeatureChannelsMin>("NNReduceFeatureChannelsMin"),
    unary<NNReduceFeatureChannelsMax>("NNReduceFeatureChannelsMax"),
    unary<NNReduceFeatureChannelsMean>("NNReduceFeatureChannelsMean"),
    unary<NNReduceFeatureChannelsSum>("NNReduceFeatureChannelsSum"),
    unary<NNReduceFeatureChannelsArgumentMin>("NNReduceFeatureChannelsArgumentMin"),
    unary<NNReduceFeatureChannelsArgumentMax>("NNReduceFeatureChannelsArgumentMax"),
    unary<NNReductionSpatialMean>("NNReductionSpatialMean"),
    gradient<NNReductionSpatialMeanGradient>("NNReductionSpatialMeanGradient"),
    {"NNReshape", reshape, kOne, kNone},
    gradient<NNReshapeGradient>("NNReshapeGradient"),
};

}  // namespace

void ReshapeKernel::archive(Archiver& archiver) {
  SingleKernel::archive(archiver);
  write(archiver, kShape, shape_, visitShape);
}

void BatchNormalizationKernel::archive(Archiver& archiver) {
  normalization_.encode(archiver);
  write(archiver, kStatistics, calculatesStatistics_, visitStatistics);
}

std::unique_ptr<GraphKernel> readKernel(Unarchiver& coder, const Device& device, const PlannedStep& step) {
  const std::string className = coder.nextClassName();
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const Row& candidate) { return candidate.className == className; });
  if (row == std::end(kRows)) refuseSetting("NNGraph", "kernel", fmt::format("no node has a {}.", className));
  Made kernel = row->read(coder, device);
  const auto* const concatenation = dynamic_cast<const NNConcatenation*>(&kernel->kernel());
  const bool reads = row->images.contains(step.sources.size()) && row->states.contains(step.sourceStates.size()) &&
                     (!concatenation || concatenation->numberOfSources() == step.sources.size());
  if (!reads) {
    refuseSetting("NNGraph", "kernel",
                  fmt::format("a {} does not read {} images and {} states.", className, step.sources.size(),
                              step.sourceStates.size()));
  }
  if (step.isInPlace && !concatenation) refuseSetting("NNGraph", "kernel", "no concatenation is written in place.");
  return kernel;
}

}  // namespace metalloid::detail
