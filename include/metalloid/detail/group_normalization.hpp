#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/detail/normalization_parameters.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

namespace metalloid::detail {

/// What instance and group normalization share: statistics of blocks of channels, image by image.
class GroupNormalizationKernel : public CNNKernel {
 public:
  float epsilon;  ///< Added to the variance. Default the data source's.

  /// Metalloid extension: C, the number of channels.
  std::size_t numberOfFeatureChannels() const;

  /// Reads gamma and beta from the data source again. Waits for committed work on them; work that is recorded but not
  /// committed will see the new values. @throws as the constructor.
  void reloadGammaAndBetaFromDataSource();
  /// Records a copy of the state's values, and none where the state has the kernel's own vectors. A temporary state's
  /// read count is lowered. @throws Error (invalidArgument) for a nil state or one of fewer channels.
  void reloadGammaAndBeta(CommandBuffer& commandBuffer, const CNNNormalizationGammaAndBetaState& gammaAndBetaState);

  // For the library's own use.
  bool needsStateForEachImage() const override { return true; }
  StateBatch makeResultStates(const ResultStateArguments& arguments) override;
  const std::shared_ptr<NormalizationParameters>& parameters() const { return parameters_; }
  std::size_t groups() const { return groups_; }
  virtual std::string_view stateClassName() const = 0;

 protected:
  GroupNormalizationKernel(const Device& device, std::string_view className);

  virtual NormalizationDataSource& source() const = 0;
  /// A copy of this kernel, for its states.
  virtual std::shared_ptr<const GroupNormalizationKernel> snapshot() const = 0;

  /// What the constructors do: checks the source and reads it.
  void loadFrom(NormalizationDataSource& source, std::size_t groups);
  void record(Encoding& encoding, const ImageOperands& operands) const override;
  void visitSettings(SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

  std::shared_ptr<NormalizationParameters> parameters_;  // null while an archive is read
  std::size_t groups_ = 1;
};

}  // namespace metalloid::detail
