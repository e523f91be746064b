#pragma once

#include "training/training_options.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>

#include <vector>

namespace metalloid::training {

/// Which implementation runs each operation of a training step with these options (`network.inputs` and `classes`
/// included), in the order of encoding. Computes nothing.
std::vector<Explanation> explainTrainingStep(const Device& device, const TrainingOptions& options);

}  // namespace metalloid::training
