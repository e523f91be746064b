#pragma once

#include "graph/batch_images.hpp"
#include "graph/filter.hpp"
#include "graph/graph_node.hpp"
#include "graph/plan.hpp"
#include "graph/source_reads.hpp"
#include "graph/storage_plan.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/nn_graph.hpp>

#include <memory>
#include <string>
#include <vector>

namespace metalloid::detail {

/// What copies of an NNGraph share: the plan, the kernels, and the storage of the last encode.
class Graph : public std::enable_shared_from_this<Graph> {
 public:
  using Result = GraphResult;

  /// `copiesDataSources`: for a copy on another device.
  Graph(const Device& device, std::vector<Result> results, bool allowFusion, bool copiesDataSources);
  /// From an archive. @throws Error (malformedFile) for what no graph has archived.
  Graph(Unarchiver& coder, const Device& device);

  /// The plan, then the kernels in their order. @throws Error (unsupported) for allocators of the caller's.
  void archive(Archiver& archiver) const;

  /// The same network on another device.
  std::shared_ptr<Graph> copy(const Device& device) const;

  const Plan& plan() const { return plan_; }
  const Device& device() const { return device_; }
  const std::vector<Result>& results() const { return results_; }
  NNGraph::Memory memory() const { return memory_; }
  std::string describe() const;
  NNGraphPlan planData() const;

  /// What one encode is given and gives.
  struct Encode {
    const std::vector<ImageBatch>& sourceImages;
    const std::vector<StateBatch>& sourceStates;
    bool isBatch = true;
    ImageBatch result;
    std::vector<ImageBatch> intermediateImages;
    std::vector<StateBatch> destinationStates;
  };
  void encode(CommandBuffer& commandBuffer, const NNGraph& graph, Encode& call);

  void reload();

  /// The queue of executeAsync, made when first needed.
  CommandQueue& queue();

 private:
  struct Run;
  void check(CommandBuffer& commandBuffer, const Encode& call) const;
  void size(Run& run);
  void place(Run& run);
  bool canTakeTogether(std::size_t step, std::size_t count) const;
  void makeState(Run& run, std::size_t step, const ImageBatch& sources, const StateBatch& sourceStates);
  BatchImages makeImages(Run& run, std::size_t step);
  void allocate(Run& run, std::size_t step);
  ImageOperands operandsOf(Run& run, std::size_t step);
  void record(Run& run);

  Device device_;
  std::vector<Result> results_;
  bool allowFusion_ = false;
  bool isFromArchive_ = false;  // there is no description to build from again
  Plan plan_;
  std::vector<std::unique_ptr<GraphKernel>> kernels_;  // one for each step of the plan

  // Of the last encode: most have the same sizes.
  std::vector<ImageDescriptor> sizes_;  // of each value
  std::size_t batchSize_ = 0;
  StoragePlan storage_;
  NNGraph::Memory memory_;
  CommandQueue queue_;
};

}  // namespace metalloid::detail
