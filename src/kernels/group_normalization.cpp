// What instance and group normalization share.

#include "core/format.hpp"
#include "core/image_implementation.hpp"
#include "kernels/group_normalization_state.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/cnn_group_normalization.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace metalloid::detail {

using operations::VectorView;

GroupNormalizationKernel::GroupNormalizationKernel(const Device& device, std::string_view className)
    : CNNKernel(device, className), epsilon(0) {}

std::size_t GroupNormalizationKernel::numberOfFeatureChannels() const { return parameters_->channels(); }

void GroupNormalizationKernel::loadFrom(NormalizationDataSource& source, std::size_t groups) {
  const auto refuse = [&](std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); };
  const LoadedSource loaded(source, name());
  const std::size_t channels = source.numberOfFeatureChannels();
  if (channels == 0) refuse(fmt::format("The data source of a {} has 0 channels.", name()));
  if (groups == 0 || channels % groups != 0) {
    refuse(fmt::format("The data source of a {} has {} groups, which do not divide its {} channels.", name(), groups,
                       channels));
  }
  auto parameters = makeParameters(device(), channels, false);
  readGammaAndBeta(source, name(), *parameters);
  parameters_ = std::move(parameters);
  groups_ = groups;
  epsilon = source.epsilon();
  label = source.label();
}

void GroupNormalizationKernel::reloadGammaAndBetaFromDataSource() {
  const LoadedSource loaded(source(), name());
  readGammaAndBeta(source(), name(), *parameters_);
}

void GroupNormalizationKernel::reloadGammaAndBeta(CommandBuffer& commandBuffer,
                                                  const CNNNormalizationGammaAndBetaState& state) {
  if (!state) Encoding(*this, commandBuffer).refuse("The gammaAndBetaState is nil.");
  encodeReload(*this, commandBuffer, "gammaAndBetaState", state,
               {{"gamma", state.gamma(), parameters_->gamma}, {"beta", state.beta(), parameters_->beta}});
}

StateBatch GroupNormalizationKernel::makeResultStates(const ResultStateArguments& arguments) {
  const VectorDescriptor one{.length = numberOfFeatureChannels()};
  const std::size_t bytes = VectorDescriptor::vectorBytesForLength(one.length, one.dataType);
  const auto kernel = snapshot();
  const auto record = recordOf(*this, arguments.sources, arguments.destination);
  // [image][gamma, beta][channel]
  Buffer buffer;
  Ref<Storage> block;
  if (arguments.commandBuffer) {
    auto& commandBuffer = implementation(*arguments.commandBuffer);
    commandBuffer.requireOpen("take a temporary state");
    block = commandBuffer.takeTemporaryStorage(2 * bytes * arguments.count);
  } else {
    buffer = device().makeBuffer(2 * bytes * arguments.count);
  }
  StateBatch states;
  for (std::size_t n = 0; n < arguments.count; ++n) {
    auto state = makeRef<GroupNormalizationStateImplementation>(kernel, arguments.commandBuffer, record);
    for (std::size_t at = 2 * n * bytes; at < 2 * (n + 1) * bytes; at += bytes) {
      if (!arguments.commandBuffer) {
        state->addVector(Vector(buffer, at, one));
        continue;
      }
      const TemporaryVector vector(*arguments.commandBuffer, one);
      implementation(vector).place(block, at);
      vector.setReadCount(all);  // it is the state's reads that count
      state->addVector(vector);
    }
    states.push_back(stateHandle<State>(state));
  }
  return states;
}

void GroupNormalizationKernel::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = pointwiseViews(encoding, *this, operands);
  const std::size_t channels = numberOfFeatureChannels();
  requireChannels(encoding, channels, views.result.channels);
  encoding.record(
      operations::CNNGroupNormalization{.source = std::move(views.source),
                                        .gamma = parameterView(encoding, "gamma", parameters_->gamma, channels),
                                        .beta = parameterView(encoding, "beta", parameters_->beta, channels),
                                        .result = std::move(views.result),
                                        .groups = groups_,
                                        .epsilon = epsilon});
}

void GroupNormalizationKernel::setDevice(const Device& device) {
  Kernel::setDevice(device);
  parameters_ = parametersOn(device, *parameters_);
}

void GroupNormalizationKernel::visitSettings(SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitor.visit("epsilon", epsilon);
  visitor.visit("groups", groups_);
  visitParameters(visitor, "normalization", device(), false, parameters_);
  if (groups_ == 0 || numberOfFeatureChannels() % groups_ != 0)
    refuseSetting("normalization", "groups", "they do not divide the channels.");
}

GroupNormalizationStateImplementation& groupNormalizationState(const State& state, std::string_view className) {
  auto* const typed = dynamic_cast<GroupNormalizationStateImplementation*>(&implementation(state));
  if (!typed || typed->className() != className) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("A {} is needed, but {} is given.", className, implementation(state).name()));
  }
  return *typed;
}

namespace {

/// The results of all images as one view, when they are equally far from each other; else one for each image.
std::vector<VectorView> together(const std::vector<VectorView>& views) {
  VectorView all = views.front();
  if (views.size() > 1) {
    if (std::less<>()(views[1].data, views[0].data)) return views;
    all.vectorBytes = static_cast<std::size_t>(views[1].data - views[0].data);
  }
  for (std::size_t n = 1; n < views.size(); ++n) {
    if (views[n].data != all.vector(n).data) return views;
  }
  return {all};
}

operations::ImageView imageOf(const operations::ImageView& view, std::size_t n) {
  operations::ImageView one = view;
  one.data = view.image(n);
  one.images = 1;
  one.addresses.clear();
  return one;
}

}  // namespace

void recordGroupNormalizationGradient(Encoding& encoding, const CNNGradientKernel& kernel,
                                      const ImageOperands& operands, std::string_view stateClassName) {
  if (operands.sourceStates.empty())
    encoding.refuse(fmt::format("{} needs the gradient states of its forward kernel.", encoding.kernelName()));
  std::vector<const GroupNormalizationStateImplementation*> states;
  for (const State& state : operands.sourceStates) {
    encoding.reads("gradientState", state);
    try {
      states.push_back(&groupNormalizationState(state, stateClassName));
    } catch (const Error& error) {
      encoding.refuse(std::string(error.message()));
    }
    if (states.back()->kernel().parameters() != states.front()->kernel().parameters())
      encoding.refuse("The gradient states of a batch are of several forward kernels.");
  }
  if (std::set(states.begin(), states.end()).size() != states.size())
    encoding.refuse("Several images share a gradient state, but each needs its own.");

  auto views = pointwiseGradientViews(encoding, kernel, operands);
  if (views.gradient.images != states.size()) {
    encoding.refuse(fmt::format("There are {} images, but {} gradient states.", views.gradient.images, states.size()));
  }
  const GroupNormalizationKernel& forward = states.front()->kernel();
  const std::size_t channels = forward.numberOfFeatureChannels();
  requireChannels(encoding, channels, views.result.channels);
  std::vector<VectorView> forGamma, forBeta;
  for (const auto* const state : states) {
    forGamma.push_back(encoding.result("gradientForGamma", state->gradientForGamma()).view(channels, {}));
    forBeta.push_back(encoding.result("gradientForBeta", state->gradientForBeta()).view(channels, {}));
  }
  const VectorView gamma = parameterView(encoding, "gamma", forward.parameters()->gamma, channels);
  const auto allForGamma = together(forGamma), allForBeta = together(forBeta);
  const bool isOne = allForGamma.size() == 1 && allForBeta.size() == 1;
  std::vector<operations::Operation> operations;
  for (std::size_t n = 0; n < (isOne ? 1 : states.size()); ++n) {
    operations.emplace_back(
        operations::CNNGroupNormalizationGradient{.gradient = isOne ? views.gradient : imageOf(views.gradient, n),
                                                  .source = isOne ? views.source : imageOf(views.source, n),
                                                  .gamma = gamma,
                                                  .resultForGamma = isOne ? allForGamma.front() : forGamma[n],
                                                  .resultForBeta = isOne ? allForBeta.front() : forBeta[n],
                                                  .result = isOne ? views.result : imageOf(views.result, n),
                                                  .groups = forward.groups(),
                                                  .epsilon = forward.epsilon});
  }
  encoding.record(std::move(operations));
}

}  // namespace metalloid::detail
