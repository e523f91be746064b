#include "kernels/normalization_parameters.hpp"

#include "core/array_implementation.hpp"
#include "core/format.hpp"
#include "operations/copy.hpp"

#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

/// Behind both states of parameters.
class ParameterStateImplementation final : public StateImplementation {
 public:
  ParameterStateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer,
                               std::string_view className)
      : StateImplementation(std::move(device), commandBuffer), className_(className) {}

  std::string_view className() const override { return className_; }

 private:
  std::string_view className_;  // of static storage
};

constexpr std::string_view kGammaAndBeta = "CNNNormalizationGammaAndBetaState";
constexpr std::string_view kMeanAndVariance = "CNNNormalizationMeanAndVarianceState";

Ref<RefCounted> stateOver(std::string_view className, const Vector& first, std::string_view firstName,
                          const Vector& second, std::string_view secondName) {
  for (const auto& [vector, name] : {std::pair(first, firstName), std::pair(second, secondName)}) {
    if (!vector) refuse(fmt::format("The {} of a {} is nil.", name, className));
    if (vector.dataType() != DataType::float32) {
      refuse(fmt::format("The {} of a {} is of type {}, but float32 is needed.", name, className,
                         metalloid::name(vector.dataType())));
    }
  }
  if (first.length() != second.length()) {
    refuse(fmt::format("The {} of a {} has {} elements, but its {} has {}.", firstName, className, first.length(),
                       secondName, second.length()));
  }
  if (first.device() != second.device())
    refuse(fmt::format("The {} and the {} of a {} are on two devices.", firstName, secondName, className));
  auto state = makeRef<ParameterStateImplementation>(Ref<DeviceImplementation>(&implementation(first).device()),
                                                     nullptr, className);
  state->addVector(first);
  state->addVector(second);
  return state;
}

Ref<RefCounted> temporaryStateOf(std::string_view className, CommandBuffer& commandBuffer, std::size_t channels) {
  if (channels == 0) refuse(fmt::format("A temporary {} of 0 channels is asked for.", className));
  auto state = makeRef<ParameterStateImplementation>(Ref<DeviceImplementation>(&implementation(commandBuffer).device()),
                                                     &commandBuffer, className);
  state->addVector(channels, DataType::float32);
  state->addVector(channels, DataType::float32);
  return state;
}

const Ref<RefCounted>& narrowed(const State& state, std::string_view className) {
  if (state && implementation(state).className() != className) {
    refuse(fmt::format("A {} is needed, but {} is given.", className, implementation(state).name()));
  }
  return state.implementation();
}

}  // namespace

LoadedSource::LoadedSource(NormalizationDataSource& source, const std::string& kernel) : source_(source) {
  if (!source_.load()) refuse(fmt::format("The data source of {} does not load.", kernel));
}

LoadedSource::~LoadedSource() { source_.purge(); }

std::shared_ptr<NormalizationParameters> makeParameters(const Device& device, std::size_t channels,
                                                        bool withStatistics) {
  auto parameters = std::make_shared<NormalizationParameters>();
  const auto filled = [&](float value) {
    const Vector vector(device, {.length = channels});
    writeOr(vector, {}, value);
    return vector;
  };
  parameters->gamma = filled(1);
  parameters->beta = filled(0);
  if (withStatistics) {
    parameters->mean = filled(0);
    parameters->variance = filled(1);
  }
  return parameters;
}

void writeOr(const Vector& vector, std::span<const float> values, float absent) {
  vector.write(values.empty() ? std::span<const float>(std::vector<float>(vector.length(), absent)) : values);
}

void checkLength(const std::string& kernel, std::string_view name, std::span<const float> values,
                 std::size_t channels) {
  if (values.empty() || values.size() == channels) return;
  refuse(fmt::format("The {} of the data source of {} has {} elements, but there are {} channels.", name, kernel,
                     values.size(), channels));
}

void readGammaAndBeta(NormalizationDataSource& source, const std::string& kernel, NormalizationParameters& parameters) {
  const auto gamma = source.gamma(), beta = source.beta();
  checkLength(kernel, "gamma", gamma, parameters.channels());
  checkLength(kernel, "beta", beta, parameters.channels());
  writeOr(parameters.gamma, gamma, 1);
  writeOr(parameters.beta, beta, 0);
}

NormalizationValues valuesOf(const NormalizationParameters& parameters) {
  NormalizationValues values;
  values.gamma = parameters.gamma.read<float>();
  values.beta = parameters.beta.read<float>();
  if (parameters.mean && parameters.hasStatistics) {
    values.mean = parameters.mean.read<float>();
    values.variance = parameters.variance.read<float>();
  }
  return values;
}

namespace {

void write(const NormalizationValues& values, NormalizationParameters& parameters) {
  parameters.gamma.write(values.gamma);
  parameters.beta.write(values.beta);
  if (values.mean.empty()) return;
  parameters.mean.write(values.mean);
  parameters.variance.write(values.variance);
  parameters.hasStatistics = true;
}

}  // namespace

std::shared_ptr<NormalizationParameters> parametersOn(const Device& device, const NormalizationParameters& parameters) {
  auto result = makeParameters(device, parameters.channels(), static_cast<bool>(parameters.mean));
  write(valuesOf(parameters), *result);
  return result;
}

void visitParameters(SettingsVisitor& visitor, std::string_view className, const Device& device, bool withStatistics,
                     std::shared_ptr<NormalizationParameters>& parameters) {
  auto values = parameters ? valuesOf(*parameters) : NormalizationValues();
  visitor.visit("gamma", values.gamma);
  visitor.visit("beta", values.beta);
  if (withStatistics) {
    visitor.visit("mean", values.mean);
    visitor.visit("variance", values.variance);
  }
  if (parameters) return;
  const std::size_t channels = values.gamma.size();
  const bool fits = channels > 0 && values.beta.size() == channels &&
                    (values.mean.empty() || values.mean.size() == channels) &&
                    values.variance.size() == values.mean.size();
  if (!fits) refuseSetting(className, "gamma", "there is not one parameter for each channel.");
  parameters = makeParameters(device, channels, withStatistics);
  write(values, *parameters);
}

void encodeReload(const Kernel& kernel, const CommandBuffer& commandBuffer, std::string_view role, const State& state,
                  std::initializer_list<ParameterCopy> copies) {
  Encoding encoding(kernel, commandBuffer);
  encoding.reads(role, state);
  operations::MatrixCopy copy{.items = {}, .offsets = {}, .rowPermute = {}, .columnPermute = {}, .rows = 1};
  for (const ParameterCopy& one : copies) {
    auto from = encoding.source(one.role, one.from);
    if (from.length() < one.to.length()) {
      encoding.refuse(fmt::format("The {} of the {} has {} elements, but {} has {} channels.", one.role, role,
                                  from.length(), encoding.kernelName(), one.to.length()));
    }
    copy.columns = one.to.length();
    if (implementation(one.from).address() == implementation(one.to).address()) continue;
    auto to = encoding.result(one.role, one.to);
    const auto matrixOf = [&](const operations::VectorView& view) {
      return operations::MatrixView{.data = view.data,
                                    .rows = 1,
                                    .columns = view.length,
                                    .rowBytes = view.length * sizeof(float),
                                    .type = view.type};
    };
    copy.items.push_back(
        {.source = matrixOf(from.view(copy.columns, {})), .destination = matrixOf(to.view(copy.columns, {}))});
  }
  std::vector<operations::Operation> operations;
  if (!copy.items.empty()) operations.emplace_back(std::move(copy));
  encoding.record(std::move(operations));
}

operations::VectorView parameterView(Encoding& encoding, std::string_view role, const Vector& vector,
                                     std::size_t channels) {
  return encoding.source(role, vector).view(channels, {});
}

void requireChannels(const Encoding& encoding, std::size_t channels, std::size_t read) {
  if (read == channels) return;
  encoding.refuse(
      fmt::format("{} channels are read, but the data source of {} has {}.", read, encoding.kernelName(), channels));
}

}  // namespace detail

CNNNormalizationGammaAndBetaState::CNNNormalizationGammaAndBetaState(const Arguments& arguments)
    : State(detail::stateOver(detail::kGammaAndBeta, arguments.gamma, "gamma", arguments.beta, "beta")) {}
CNNNormalizationGammaAndBetaState::CNNNormalizationGammaAndBetaState(const State& state)
    : State(detail::narrowed(state, detail::kGammaAndBeta)) {}
CNNNormalizationGammaAndBetaState CNNNormalizationGammaAndBetaState::temporaryState(
    CommandBuffer& commandBuffer, std::size_t numberOfFeatureChannels) {
  return CNNNormalizationGammaAndBetaState(
      detail::temporaryStateOf(detail::kGammaAndBeta, commandBuffer, numberOfFeatureChannels));
}
Vector CNNNormalizationGammaAndBetaState::gamma() const { return detail::implementation(*this).vectors()[0]; }
Vector CNNNormalizationGammaAndBetaState::beta() const { return detail::implementation(*this).vectors()[1]; }

CNNNormalizationMeanAndVarianceState::CNNNormalizationMeanAndVarianceState(const Arguments& arguments)
    : State(detail::stateOver(detail::kMeanAndVariance, arguments.mean, "mean", arguments.variance, "variance")) {}
CNNNormalizationMeanAndVarianceState::CNNNormalizationMeanAndVarianceState(const State& state)
    : State(detail::narrowed(state, detail::kMeanAndVariance)) {}
CNNNormalizationMeanAndVarianceState CNNNormalizationMeanAndVarianceState::temporaryState(
    CommandBuffer& commandBuffer, std::size_t numberOfFeatureChannels) {
  return CNNNormalizationMeanAndVarianceState(
      detail::temporaryStateOf(detail::kMeanAndVariance, commandBuffer, numberOfFeatureChannels));
}
Vector CNNNormalizationMeanAndVarianceState::mean() const { return detail::implementation(*this).vectors()[0]; }
Vector CNNNormalizationMeanAndVarianceState::variance() const { return detail::implementation(*this).vectors()[1]; }

}  // namespace metalloid
