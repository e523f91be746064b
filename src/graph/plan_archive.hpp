#pragma once

#include "graph/plan.hpp"

#include <metalloid/archive.hpp>

#include <vector>

namespace metalloid::detail {

/// The plan as it is, simplifications and notes included; handles become their labels.
/// @throws Error (unsupported) for an image with an allocator of the caller's.
void archivePlan(Archiver& archiver, const Plan& plan, const std::vector<GraphResult>& results);

/// A plan without description: its vertices are null, and those of `results` have nothing but a handle.
/// @throws Error (malformedFile) for what no plan can be.
Plan readPlan(Unarchiver& coder, std::vector<GraphResult>& results);

}  // namespace metalloid::detail
