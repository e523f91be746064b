#pragma once

#include <functional>
#include <memory>

#include <metalloid/metalloid.hpp>

#include "operands.hpp"
#include "problem.hpp"

namespace benchmark_program {

/// A problem with its operands on a device, ready to be encoded again and again.
struct Case {
  Operands operands;

  /// Records the work once.
  std::function<void(metalloid::CommandBuffer&)> encode;

  /// The largest error of the results of the last encode, in units of what rounding allows. Above 1 is wrong.
  std::function<double()> error;

  /// Each encode is committed in a command buffer of its own, as a training loop does. Otherwise a command buffer takes
  /// many.
  bool committedAlone = false;

  double operations = 0;  ///< Floating-point operations of one encode; 0: not a matter of arithmetic.
  double bytes = 0;       ///< Fewest bytes that one encode reads and writes; 0: not a matter of memory.

  /// What an error of 1 is, relative to the sum of the magnitudes of a result's terms; 0: they differ in that.
  double errorUnit = 0;

  /// Runs once over spoiled results and returns the error; infinity where a result was not written.
  double check(const metalloid::CommandQueue& queue) const;
};

/// Encodes `iterations` times and waits. `committedAlone`: see Case.
void runRepeatedly(const metalloid::CommandQueue& queue, std::size_t iterations, bool committedAlone,
                   const std::function<void(metalloid::CommandBuffer&)>& encode);

/// @throws metalloid::Error for an operation, a size or a word that is not known.
Case makeCase(const metalloid::Device& device, const Problem& problem);

// One file each. They take the operands by value: a case keeps them.
Case copyCase(Operands operands, const Problem& problem);
Case fullyConnectedCase(Operands operands, const Problem& problem);
Case fullyConnectedGradientCase(Operands operands, const Problem& problem);
Case productErrorCase(Operands operands, const Problem& problem);
Case neuronGradientCase(Operands operands, const Problem& problem);
Case batchNormalizationCase(Operands operands, const Problem& problem);
Case batchNormalizationGradientCase(Operands operands, const Problem& problem);
Case convolutionCase(Operands operands, const Problem& problem);
Case convolutionGradientCase(Operands operands, const Problem& problem);
Case poolingCase(Operands operands, const Problem& problem);
Case poolingGradientCase(Operands operands, const Problem& problem);
Case imageBatchNormalizationCase(Operands operands, const Problem& problem);
Case imageBatchNormalizationGradientCase(Operands operands, const Problem& problem);
Case trainingStepCase(Operands operands, const Problem& problem);
Case graphTrainingStepCase(Operands operands, const Problem& problem);

/// The neuron among the problem's words; none where there is none.
metalloid::CNNNeuronType neuronOf(const Problem& problem);

/// What the word `reduced` permits.
metalloid::KernelOptions optionsOf(const Problem& problem);

/// Where a whole training step is repeated to check it: on `reference`, or for other devices than `cpu` on that, which
/// its own tests hold against `reference`, because a large step would keep `reference` busy for hours.
metalloid::Device oracleOf(const metalloid::Device& device);

}  // namespace benchmark_program
