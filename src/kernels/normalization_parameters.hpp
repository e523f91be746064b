#pragma once

#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/detail/normalization_parameters.hpp>
#include <metalloid/device.hpp>
#include <metalloid/kernel.hpp>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// How the parameters of normalizations get to their device, from there into archives, and from states into kernels.
namespace metalloid::detail {

/// A data source between `load` and `purge`. @throws Error (invalidArgument) when it does not load.
class LoadedSource {
 public:
  LoadedSource(NormalizationDataSource& source, const std::string& kernel);
  ~LoadedSource();
  LoadedSource(const LoadedSource&) = delete;
  LoadedSource& operator=(const LoadedSource&) = delete;

 private:
  NormalizationDataSource& source_;
};

/// Parameters for so many channels; those that an empty data source stands for.
std::shared_ptr<NormalizationParameters> makeParameters(const Device& device, std::size_t channels,
                                                        bool withStatistics);

/// @throws Error (invalidArgument) for a span that is neither empty nor has `channels` elements.
void checkLength(const std::string& kernel, std::string_view name, std::span<const float> values, std::size_t channels);

/// Reads gamma and beta of a loaded source. @throws Error (invalidArgument) for another number of channels, before
/// anything is written.
void readGammaAndBeta(NormalizationDataSource& source, const std::string& kernel, NormalizationParameters& parameters);

/// `values`, or `absent` for each channel.
void writeOr(const Vector& vector, std::span<const float> values, float absent);

/// The values of parameters; what mean and variance stand for is empty when they are nobody's.
struct NormalizationValues {
  std::vector<float> gamma, beta, mean, variance;
};
NormalizationValues valuesOf(const NormalizationParameters& parameters);

/// The same parameters on another device.
std::shared_ptr<NormalizationParameters> parametersOn(const Device& device, const NormalizationParameters& parameters);

/// Visits the values; when `parameters` is null an archive is being read, and they are made from it.
void visitParameters(SettingsVisitor& visitor, std::string_view className, const Device& device, bool withStatistics,
                     std::shared_ptr<NormalizationParameters>& parameters);

/// Records copies of a state's vectors to a kernel's, where they are not the same.
struct ParameterCopy {
  std::string_view role;
  Vector from;
  Vector to;
};
void encodeReload(const Kernel& kernel, const CommandBuffer& commandBuffer, std::string_view role, const State& state,
                  std::initializer_list<ParameterCopy> copies);

/// A vector of parameters, or of gradients, as an operand of C elements.
operations::VectorView parameterView(Encoding& encoding, std::string_view role, const Vector& vector,
                                     std::size_t channels);

/// @throws Error (invalidArgument) unless a kernel for `channels` reads as many.
void requireChannels(const Encoding& encoding, std::size_t channels, std::size_t read);

}  // namespace metalloid::detail
