#pragma once

#include "graph/graph_kernel.hpp"
#include "graph/plan.hpp"

#include <metalloid/archive.hpp>
#include <metalloid/device.hpp>

#include <memory>

namespace metalloid::detail {

/// The next kernel of an archive, for a step of the plan that is there before it.
/// @throws Error (malformedFile) for a class that no filter encodes, and for a step that reads what the kernel does
/// not.
std::unique_ptr<GraphKernel> readKernel(Unarchiver& coder, const Device& device, const PlannedStep& step);

}  // namespace metalloid::detail
