#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/image.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/nn_graph_plan.hpp>
#include <metalloid/nn_nodes.hpp>
#include <metalloid/state.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace metalloid {

namespace detail {
class Graph;
}

/// A network on a device: the filters that given images of a description depend on, in the order of their encoding.
/// Source: MPSNNGraph.
///
/// Building makes the kernels, loads the data sources and simplifies the network: what no result needs is left out,
/// neurons are computed by the convolution or batch normalization before them, concatenations are written in place, and
/// temporary images share storage. Fused and unfused results differ by at most one rounding to the format of the image
/// left out. The description may change or go afterwards.
///
/// A graph is a value over a shared plan: copies share kernels and parameters, and one thread at a time uses them.
class NNGraph : public Kernel {
 public:
  /// A graph with one result.
  struct Arguments {
    NNImageNode resultImage;          ///< The image that encodes return.
    bool resultImageIsNeeded = true;  ///< Without, encodes return nil, and only parameters are trained.
    bool allowFusion = true;          ///< Metalloid extension: false encodes every filter as it is described.
  };
  /// @throws Error (invalidArgument) naming node and reason: nil nodes, cycles, data sources that do not load,
  /// parameters of the wrong size, feature channels that cannot be those of the images between the nodes, as far as
  /// data sources tell them.
  NNGraph(const Device& device, const Arguments& arguments);

  /// A graph with several results: encodes return the first, and list the others after the intermediate images.
  struct SeveralArguments {
    std::vector<NNImageNode> resultImages;    ///< At least one.
    std::vector<bool> resultsAreNeeded = {};  ///< One for each; empty: all are.
    bool allowFusion = true;                  ///< As above.
  };
  /// @throws as above, and unless there is one flag for each result.
  NNGraph(const Device& device, const SeveralArguments& arguments);

  /// The next graph of an archive: its network as it was simplified, with the parameters that were in use, on `device`.
  /// It computes what the archived graph computed, gradients included, to the bit on a device of the same kind. Handles
  /// have the archived labels. Data sources and callbacks are not archived: training leaves the parameters as they are,
  /// `reloadFromDataSources` keeps them, and `destinationImageAllocator` is the default.
  /// @throws Error (malformedFile) when it is another class or nothing that a graph archives.
  NNGraph(Unarchiver& coder, const Device& device);

  /// Archives the network with the parameters in use, which no work under way may change.
  /// @throws Error (unsupported) when a node has an image allocator of the caller's.
  void encode(Archiver& archiver) const override;

  /// Storage of the images whose nodes do not say. Default float16.
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float16;
  /// Whether the states that encodes return are temporary. Default false.
  bool outputStateIsTemporary = false;
  /// What makes the results. Default: ordinary images.
  std::shared_ptr<ImageAllocator> destinationImageAllocator = Image::defaultAllocator();

  /// The order of `sourceImages`: that of first use in the order of encoding. A node without a handle has one without a
  /// label here.
  std::vector<std::shared_ptr<metalloid::Handle>> sourceImageHandles() const;
  std::vector<std::shared_ptr<metalloid::Handle>> sourceStateHandles() const;        ///< The order of `sourceStates`.
  std::vector<std::shared_ptr<metalloid::Handle>> intermediateImageHandles() const;  ///< That of `intermediateImages`.
  std::vector<std::shared_ptr<metalloid::Handle>> resultStateHandles() const;        ///< That of `destinationStates`.
  std::shared_ptr<metalloid::Handle> resultHandle() const;  ///< Of the first result's node; nil when it has none.
  bool resultImageIsNeeded() const;                         ///< Whether encodes return an image.

  /// The operands of `encode`.
  struct EncodeArguments {
    ImageBatch sourceImages;                   ///< One image for each input, in the order of `sourceImageHandles`.
    StateBatch sourceStates = {};              ///< One state for each input.
    ImageBatch* intermediateImages = nullptr;  ///< Receives the exported images.
    StateBatch* destinationStates = nullptr;   ///< Receives the exported states.
  };
  /// Records the network and returns its result; nil when it is not needed. All or nothing: what throws records
  /// nothing.
  /// @throws Error (invalidArgument) naming node and reason.
  Image encode(CommandBuffer& commandBuffer, const EncodeArguments& arguments);

  /// The operands of `encodeBatch`.
  struct EncodeBatchArguments {
    std::vector<ImageBatch> sourceImages;                   ///< One batch for each input.
    std::vector<StateBatch> sourceStates = {};              ///< One batch for each input.
    std::vector<ImageBatch>* intermediateImages = nullptr;  ///< Receives the exported images.
    std::vector<StateBatch>* destinationStates = nullptr;   ///< Receives the exported states.
  };
  /// Records the network for a batch. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const EncodeBatchArguments& arguments);

  /// Receives the result of `executeAsync`, or what failed; runs on a thread of the library's.
  using CompletionHandler = std::function<void(const Image& image, const std::optional<Error>& error)>;
  /// The operands of `executeAsync`.
  struct ExecuteArguments {
    ImageBatch sourceImages;              ///< One image for each input; at least one.
    CompletionHandler completionHandler;  ///< May run before the call returns.
  };
  /// Runs the network on a queue of its own and returns at once. The image's contents are there when the handler runs.
  /// @throws Error (invalidArgument) as `encode`, and without source images or a needed result.
  Image executeAsync(const ExecuteArguments& arguments);

  /// How much an encode lowers the read count of a temporary source: 1, however often the network reads it.
  /// @throws Error (invalidArgument) beyond the last.
  std::size_t readCountForSourceImage(std::size_t index) const;
  std::size_t readCountForSourceState(std::size_t index) const;  ///< As above.

  /// Reads every data source again. No work of the graph may be under way. @throws what building throws.
  void reloadFromDataSources();

  /// Metalloid extension: storage of the temporary images of the last encode, in bytes.
  struct Memory {
    std::size_t used = 0;          ///< Taken.
    std::size_t largestAlive = 0;  ///< The largest sum of those alive at one time: the least possible.
    std::size_t withoutReuse = 0;  ///< What they would take without sharing.
  };
  Memory memory() const;  ///< Zeros before the first encode.

  /// Metalloid extension: the plan, a line for each kernel in the order of encoding, with the simplifications made.
  std::string planDescription() const;
  NNGraphPlan plan() const;  ///< Metalloid extension: the same as data.

  /// A copy for another device, with copies of the data sources where they offer one; nil shares the plan.
  NNGraph copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  std::shared_ptr<detail::Graph> graph_;
};

}  // namespace metalloid
