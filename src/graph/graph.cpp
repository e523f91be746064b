#include "graph/graph.hpp"

#include "core/command_buffer_implementation.hpp"
#include "core/format.hpp"
#include "core/image_implementation.hpp"
#include "core/state_implementation.hpp"
#include "graph/kernel_archive.hpp"
#include "graph/plan_archive.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace metalloid::detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

/// What kernels are told while they are made, in the order of encoding.
class Building final : public BuildContext {
 public:
  Building(const Plan& plan, const std::vector<std::unique_ptr<GraphKernel>>& kernels, const Device* copyDevice)
      : kernels_(kernels) {
    if (copyDevice) copyDevice_ = *copyDevice;
    for (std::size_t step = 0; step < plan.steps.size(); ++step) {
      steps_[plan.steps[step].node.get()] = step;
      neurons_[plan.steps[step].node.get()] = plan.steps[step].fusedNeuron;
    }
    for (const auto& state : plan.states) isRead_[state.node.get()] = !state.readers.empty();
  }

  GraphKernel* kernelOf(const GraphNode& filter) const override {
    const auto found = steps_.find(&filter);
    return found == steps_.end() || found->second >= kernels_.size() ? nullptr : kernels_[found->second].get();
  }
  bool isStateRead(const GraphNode& filter) const override {
    const auto found = isRead_.find(&filter);
    return found != isRead_.end() && found->second;
  }
  std::optional<NNNeuronDescriptor> fusedNeuron(const GraphNode& filter) const override {
    const auto found = neurons_.find(&filter);
    return found == neurons_.end() ? std::nullopt : found->second;
  }

 private:
  const std::vector<std::unique_ptr<GraphKernel>>& kernels_;
  std::unordered_map<const GraphNode*, std::size_t> steps_;
  std::unordered_map<const GraphNode*, std::optional<NNNeuronDescriptor>> neurons_;
  std::unordered_map<const GraphNode*, bool> isRead_;
};

std::vector<Plan::Wanted> wanted(const std::vector<Graph::Result>& results) {
  std::vector<Plan::Wanted> all;
  all.reserve(results.size());
  for (const auto& result : results) all.push_back({result.node.get(), result.isNeeded});
  return all;
}

std::size_t storageBytes(const ImageDescriptor& descriptor) { return layoutOf(descriptor).storageBytes(); }

}  // namespace

Graph::Graph(const Device& device, std::vector<Result> results, bool allowFusion, bool copiesDataSources)
    : device_(device),
      results_(std::move(results)),
      allowFusion_(allowFusion),
      plan_(Plan::make(wanted(results_), allowFusion)) {
  const Building context(plan_, kernels_, copiesDataSources ? &device : nullptr);
  for (const PlannedStep& step : plan_.steps) {
    const Filter& filter = *step.node->filter;
    try {
      auto kernel = filter.makeKernel(device, *step.node, context);
      kernel->kernel().label = filter.name();
      kernel->kernel().paddingPolicy() = filter.padding;
      if (!step.resultIsNeeded && kernel->canSkipResult()) kernel->skipResult();
      kernels_.push_back(std::move(kernel));
    } catch (const Error& error) {
      throw error.during(fmt::format("building {}", step.name));
    }
  }
}

Graph::Graph(Unarchiver& coder, const Device& device)
    : device_(device), isFromArchive_(true), plan_(readPlan(coder, results_)) {
  for (PlannedStep& step : plan_.steps) {
    try {
      auto kernel = readKernel(coder, device, step);
      if (!step.resultIsNeeded && kernel->canSkipResult()) kernel->skipResult();
      kernels_.push_back(std::move(kernel));
    } catch (const Error& error) {
      throw error.during(fmt::format("reading {}", step.name));
    }
  }
}

void Graph::archive(Archiver& archiver) const {
  archivePlan(archiver, plan_, results_);
  for (const auto& kernel : kernels_) kernel->archive(archiver);
}

std::shared_ptr<Graph> Graph::copy(const Device& device) const {
  if (isFromArchive_) {
    Archiver archiver;
    archive(archiver);
    Unarchiver coder(archiver.finish());
    return std::make_shared<Graph>(coder, device);
  }
  return std::make_shared<Graph>(device, results_, allowFusion_, true);
}

void Graph::reload() {
  for (std::size_t step = 0; step < kernels_.size(); ++step) {
    try {
      kernels_[step]->reload();
    } catch (const Error& error) {
      throw error.during(fmt::format("reloading {}", plan_.steps[step].name));
    }
  }
}

CommandQueue& Graph::queue() {
  if (!queue_) queue_ = device_.makeCommandQueue();
  return queue_;
}

/// One encode under way.
struct Graph::Run {
  CommandBuffer& commandBuffer;
  const NNGraph& graph;
  Encode& call;
  std::size_t count = 1;               // images of the batch
  std::vector<BatchImages> images;     // of each planned image
  std::vector<Image> representatives;  // of each planned image: its size, without storage
  std::vector<StateBatch> states;      // of each planned state: one for each image, or one for all
  std::vector<char> isInPlace;         // of each step: a concatenation that has nothing to copy
  Ref<Storage> block;                  // of the temporary images
  std::vector<std::size_t> offsets;    // of each planned image in it; `all` for others

  /// Size and format of as many images in one as the batch has.
  ImageDescriptor together(std::size_t image) const {
    ImageDescriptor descriptor = representatives[image].descriptor();
    descriptor.numberOfImages *= count;
    return descriptor;
  }
};

void Graph::check(CommandBuffer& commandBuffer, const Encode& call) const {
  const auto& device = implementation(device_);
  auto& target = implementation(commandBuffer);
  target.requireOpen("take more work");
  if (&target.device() != &device) {
    refuse(fmt::format("The command buffer is on device {}, but the graph is on device {}.", target.device().name(),
                       device.name()));
  }
  if (call.sourceImages.size() != plan_.sourceImages.size()) {
    refuse(fmt::format("The graph has {} source images, but {} are given.", plan_.sourceImages.size(),
                       call.sourceImages.size()));
  }
  if (call.sourceStates.size() != plan_.sourceStates.size()) {
    refuse(fmt::format("The graph has {} source states, but {} are given.", plan_.sourceStates.size(),
                       call.sourceStates.size()));
  }
  const std::size_t count = call.sourceImages.empty() ? 1 : call.sourceImages.front().size();
  for (std::size_t i = 0; i < call.sourceImages.size(); ++i) {
    const std::string& name = plan_.images[plan_.sourceImages[i]].name;
    if (call.sourceImages[i].empty()) refuse(fmt::format("There is no image for {}.", name));
    if (call.sourceImages[i].size() != count) {
      refuse(fmt::format("There are {} images for {}, but {} for {}.", call.sourceImages[i].size(), name, count,
                         plan_.images[plan_.sourceImages.front()].name));
    }
    for (const Image& image : call.sourceImages[i]) {
      if (!image) refuse(fmt::format("An image for {} is nil.", name));
      if (call.isBatch && image.numberOfImages() != 1) {
        refuse(fmt::format("An image for {} holds {} images, but in a batch each holds one.", name,
                           image.numberOfImages()));
      }
    }
  }
  for (std::size_t i = 0; i < call.sourceStates.size(); ++i) {
    const std::string& name = plan_.states[plan_.sourceStates[i]].name;
    if (call.sourceStates[i].size() != count) {
      refuse(fmt::format("There are {} states for {}, but the batch has {} images.", call.sourceStates[i].size(), name,
                         count));
    }
    for (const State& state : call.sourceStates[i]) {
      if (!state) refuse(fmt::format("A state for {} is nil.", name));
    }
  }
}

/// Sizes of everything, and the states, in the order of encoding.
void Graph::size(Run& run) {
  for (std::size_t index = 0; index < plan_.steps.size(); ++index) {
    const PlannedStep& step = plan_.steps[index];
    const PlannedImage& planned = plan_.images[step.result];
    GraphKernel& kernel = *kernels_[index];
    try {
      ImageBatch sources;
      for (const std::size_t source : step.sources) sources.push_back(run.representatives[source]);
      StateBatch states;
      for (const std::size_t state : step.sourceStates) states.push_back(run.states[state].front());
      ImageDescriptor size = kernel.sizeDestination(sources, states);
      size.channelFormat =
          planned.properties.format == ImageFeatureChannelFormat::none ? run.graph.format : planned.properties.format;
      run.representatives[step.result] = Image(device_, size);  // makes no storage
      if (step.state) makeState(run, index, sources, states);
    } catch (const Error& error) {
      throw error.during(fmt::format("encoding {}", step.name));
    }
  }
}

/// Whether one image can stand for `count`. A clip rectangle that a policy of the caller's has set counts for each
/// image of a batch, but chooses among those of one that holds several.
bool Graph::canTakeTogether(std::size_t index, std::size_t count) const {
  const Region clip = kernels_[index]->kernel().destinationClipRect();
  return !kernels_[index]->takesImagesOneByOne() && clip.origin.z == 0 && clip.size.depth >= count;
}

/// The state of a step: one for each image where the kernel or a caller wants that, else one for all.
void Graph::makeState(Run& run, std::size_t index, const ImageBatch& sources, const StateBatch& sourceStates) {
  const PlannedStep& step = plan_.steps[index];
  const PlannedState& state = plan_.states[*step.state];
  GraphKernel& kernel = *kernels_[index];
  const bool forHost = std::ranges::any_of(state.readers, [&](std::size_t reader) {
    return plan_.steps[reader].trainingStyle == NNTrainingStyle::UpdateDeviceCPU;
  });
  const bool isTemporary = !forHost && (!state.properties.isExported || run.graph.outputStateIsTemporary);
  ImageKernel::ResultStateArguments arguments{.commandBuffer = isTemporary ? &run.commandBuffer : nullptr,
                                              .sources = sources,
                                              .sourceStates = sourceStates,
                                              .destination = run.representatives[step.result],
                                              .count = run.count};
  if (canTakeTogether(index, run.count) && !state.properties.isExported && !kernel.kernel().needsStateForEachImage()) {
    for (std::size_t i = 0; i < sources.size(); ++i)
      arguments.sources[i] = Image(device_, run.together(step.sources[i]));
    arguments.destination = Image(device_, run.together(step.result));
    arguments.count = 1;
  }
  auto& made = run.states[*step.state];
  made = kernel.makeResultStates(arguments);
  if (made.empty()) refuse("The kernel makes no state for its gradient.");
  for (const State& one : made) {
    if (one.isTemporary()) one.setReadCount(kForever);
    if (state.properties.handle) one.setLabel(state.properties.handle->label());
  }
}

/// Which concatenations are written in place, and where temporary images lie. Most encodes have the sizes of the last.
void Graph::place(Run& run) {
  std::vector<ImageDescriptor> sizes(plan_.images.size());
  for (std::size_t image = 0; image < plan_.images.size(); ++image) {
    if (run.representatives[image]) sizes[image] = run.representatives[image].descriptor();
  }
  run.isInPlace.assign(plan_.steps.size(), 0);
  for (std::size_t index = 0; index < plan_.steps.size(); ++index) {
    const PlannedStep& step = plan_.steps[index];
    if (!step.isInPlace) continue;
    // A source whose channels are no multiple of 4 leaves channels between, which the copying kernel clears.
    run.isInPlace[index] = std::all_of(step.sources.begin(), step.sources.end() - 1,
                                       [&](std::size_t source) {
                                         return sizes[source].featureChannels % 4 == 0 &&
                                                sizes[source].channelFormat == sizes[step.result].channelFormat;
                                       }) &&
                           sizes[step.sources.back()].channelFormat == sizes[step.result].channelFormat;
  }
  const auto isWritten = [&](const PlannedImage& image) {
    return !image.isInput && run.representatives[static_cast<std::size_t>(&image - plan_.images.data())] &&
           plan_.steps[image.producer].result == static_cast<std::size_t>(&image - plan_.images.data());
  };
  const auto aliased = [&](const PlannedImage& image) {
    return image.concatenation && run.isInPlace[plan_.images[*image.concatenation].producer];
  };
  std::vector<Lifetime> lifetimes;
  std::vector<std::size_t> owners;
  for (std::size_t index = 0; index < plan_.images.size(); ++index) {
    const PlannedImage& image = plan_.images[index];
    const PlannedStep* const producer = image.isInput ? nullptr : &plan_.steps[image.producer];
    if (!isWritten(image) || image.isResult || image.properties.isExported || aliased(image)) continue;
    if (image.properties.allocator != TemporaryImage::defaultAllocator()) continue;
    if (!producer->resultIsNeeded && kernels_[image.producer]->canSkipResult()) continue;
    Lifetime life{.bytes = storageBytes(sizes[index]) * run.count, .first = image.producer, .last = image.producer};
    for (const std::size_t reader : image.readers) life.last = std::max(life.last, reader);
    if (run.isInPlace[image.producer]) {
      for (const std::size_t source : producer->sources) {
        life.first = std::min(life.first, plan_.images[source].producer);
        for (const std::size_t reader : plan_.images[source].readers) life.last = std::max(life.last, reader);
      }
    }
    lifetimes.push_back(life);
    owners.push_back(index);
  }
  if (sizes != sizes_ || run.count != batchSize_) {
    storage_ = StoragePlan::make(lifetimes);
    sizes_ = std::move(sizes);
    batchSize_ = run.count;
    memory_ = {.used = storage_.used, .largestAlive = storage_.largestAlive, .withoutReuse = storage_.withoutReuse};
  }
  run.offsets.assign(plan_.images.size(), all);
  for (std::size_t i = 0; i < owners.size(); ++i) run.offsets[owners[i]] = storage_.offsets[i];
  if (storage_.used > 0) run.block = implementation(run.commandBuffer).takeTemporaryStorage(storage_.used);
}

/// The destination of a step, unless it is a part of another.
BatchImages Graph::makeImages(Run& run, std::size_t index) {
  const PlannedStep& step = plan_.steps[index];
  const PlannedImage& planned = plan_.images[step.result];
  if (run.offsets[step.result] != all) {
    return BatchImages(
        makePlacedImage(run.commandBuffer, run.together(step.result), run.block, run.offsets[step.result]), run.count);
  }
  const ImageDescriptor size = run.representatives[step.result].descriptor();
  ImageKernel& kernel = kernels_[index]->kernel();
  auto& allocator = planned.isResult ? *run.graph.destinationImageAllocator : *planned.properties.allocator;
  auto images = run.count == 1 ? ImageBatch{allocator.image(run.commandBuffer, size, kernel)}
                               : allocator.imageBatch(run.commandBuffer, size, kernel, run.count);
  if (images.size() != run.count)
    refuse(fmt::format("The allocator of {} makes {} images.", planned.name, images.size()));
  for (const Image& image : images) {
    if (!image) refuse(fmt::format("The allocator of {} makes no image.", planned.name));
  }
  return BatchImages(std::move(images));
}

/// Makes the destination of a step where there is none yet.
void Graph::allocate(Run& run, std::size_t index) {
  const PlannedStep& step = plan_.steps[index];
  const PlannedImage& planned = plan_.images[step.result];
  auto& images = run.images[step.result];
  if (!images.made().empty()) return;  // a concatenation that its sources have made already
  if (!step.resultIsNeeded && kernels_[index]->canSkipResult()) return;
  if (planned.concatenation && run.isInPlace[plan_.images[*planned.concatenation].producer]) {
    const std::size_t producer = plan_.images[*planned.concatenation].producer;
    allocate(run, producer);
    std::size_t channel = 0;
    for (std::size_t i = 0; i < planned.concatenationSource; ++i)
      channel += run.representatives[plan_.steps[producer].sources[i]].featureChannels();
    images =
        run.images[*planned.concatenation].subImages({channel, run.representatives[step.result].featureChannels()});
  } else {
    images = makeImages(run, index);
  }
  images.hold();
  if (planned.properties.handle) images.setLabel(planned.properties.handle->label());
}

/// What a step works on: images that hold the batch, if all its images are there as such.
ImageOperands Graph::operandsOf(Run& run, std::size_t index) {
  const PlannedStep& step = plan_.steps[index];
  const auto areTogether = [&](std::size_t image) { return run.images[image].areTogether(); };
  const bool isTogether =
      canTakeTogether(index, run.count) && areTogether(step.result) && std::ranges::all_of(step.sources, areTogether);
  const auto imagesOf = [&](std::size_t image) -> const ImageBatch& {
    return isTogether ? run.images[image].together() : run.images[image].each();
  };
  ImageOperands operands{
      .sources = {}, .sourceStates = {}, .destinationStates = {}, .destinations = imagesOf(step.result)};
  operands.destinationsAreNew = true;
  for (const std::size_t source : step.sources) operands.sources.push_back(imagesOf(source));
  for (const std::size_t state : step.sourceStates) {
    operands.sourceStates.insert(operands.sourceStates.end(), run.states[state].begin(), run.states[state].end());
  }
  if (step.state) operands.destinationStates = run.states[*step.state];
  return operands;
}

void Graph::record(Run& run) {
  std::vector<std::pair<std::size_t, StateBatch>> updatesOnHost;
  for (std::size_t index = 0; index < plan_.steps.size(); ++index) {
    const PlannedStep& step = plan_.steps[index];
    try {
      allocate(run, index);
      if (!run.isInPlace[index]) {
        ImageOperands operands = operandsOf(run, index);
        kernels_[index]->encode(run.commandBuffer, operands);
        if (step.trainingStyle == NNTrainingStyle::UpdateDeviceGPU)
          kernels_[index]->update(run.commandBuffer, operands.sourceStates);
        if (step.trainingStyle == NNTrainingStyle::UpdateDeviceCPU)
          updatesOnHost.emplace_back(index, std::move(operands.sourceStates));
      }
    } catch (const Error& error) {
      throw error.during(fmt::format("encoding {}", step.name));
    }
    // What has been read for the last time goes; placed images need nothing.
    for (const std::size_t source : step.sources) {
      const PlannedImage& image = plan_.images[source];
      if (image.isInput || image.isResult || image.properties.isExported || run.offsets[source] != all) continue;
      if (std::ranges::max(image.readers) != index) continue;
      for (const Image& one : run.images[source].made()) {
        if (one.isTemporary() && implementation(one).readCount() > 0) implementation(one).setReadCount(0);
      }
    }
    for (const std::size_t source : step.sourceStates) {
      const PlannedState& state = plan_.states[source];
      if (state.isInput || state.properties.isExported || std::ranges::max(state.readers) != index) continue;
      for (const State& one : run.states[source]) {
        if (one.isTemporary() && one.readCount() > 0) one.setReadCount(0);
      }
    }
  }
  if (!updatesOnHost.empty()) {
    run.commandBuffer.addCompletedHandler(
        [self = shared_from_this(), updates = std::move(updatesOnHost)](const CommandBuffer& commandBuffer) {
          if (commandBuffer.error()) return;
          for (const auto& [step, states] : updates) self->kernels_[step]->updateOnHost(states);
        });
  }
}

void Graph::encode(CommandBuffer& commandBuffer, const NNGraph& graph, Encode& call) {
  check(commandBuffer, call);
  Run run{.commandBuffer = commandBuffer,
          .graph = graph,
          .call = call,
          .images = {},
          .representatives = {},
          .states = {},
          .isInPlace = {},
          .block = {},
          .offsets = {}};
  run.count = call.sourceImages.empty() ? 1 : call.sourceImages.front().size();
  run.images.resize(plan_.images.size());
  run.representatives.resize(plan_.images.size());
  run.states.resize(plan_.states.size());
  for (std::size_t i = 0; i < call.sourceImages.size(); ++i) {
    run.images[plan_.sourceImages[i]] = BatchImages(call.sourceImages[i]);
    run.representatives[plan_.sourceImages[i]] =
        Image(device_, call.sourceImages[i].front().descriptor());  // without storage: only its size is asked for
  }
  for (std::size_t i = 0; i < call.sourceStates.size(); ++i) run.states[plan_.sourceStates[i]] = call.sourceStates[i];

  // Temporary sources lose one read for each input, however often kernels read them.
  SourceReads reads;
  auto& target = implementation(commandBuffer);
  const std::size_t mark = target.records().size();
  try {
    for (const auto& batch : call.sourceImages) reads.hold(batch);
    for (const auto& batch : call.sourceStates) reads.hold(batch);
    size(run);
    place(run);
    record(run);
  } catch (...) {
    target.dropRecordsFrom(mark);
    reads.restore();
    throw;
  }
  reads.count();
  if (run.block) target.giveTemporaryStorage(std::move(run.block));

  for (const std::size_t image : plan_.intermediateImages) {
    const ImageBatch& images = run.images[image].each();
    for (const Image& one : images) {
      if (one.isTemporary()) implementation(one).setReadCount(plan_.images[image].isResult ? 2 : 1);
    }
    call.intermediateImages.push_back(images);
  }
  for (std::size_t i = 0; i < plan_.results.size(); ++i) {
    if (!plan_.results[i]) continue;
    const PlannedImage& planned = plan_.images[*plan_.results[i]];
    const ImageBatch& images = run.images[*plan_.results[i]].each();
    for (const Image& one : images) {
      if (one.isTemporary() && !planned.properties.isExported) implementation(one).setReadCount(1);
    }
    if (i == 0) {
      call.result = images;
    } else {
      call.intermediateImages.push_back(images);
    }
  }
  for (const std::size_t state : plan_.destinationStates) {
    for (const State& one : run.states[state]) {
      if (one.isTemporary() && one.readCount() > 1) one.setReadCount(1);
    }
    call.destinationStates.push_back(run.states[state]);
  }
}

std::string Graph::describe() const {
  std::string text;
  const auto sizeOf = [&](std::size_t image) {
    if (sizes_.empty()) return std::string();
    const ImageDescriptor& d = sizes_[image];
    return fmt::format(" {}x{}x{} {}", d.height, d.width, d.featureChannels, name(d.channelFormat));
  };
  for (std::size_t index = 0; index < plan_.steps.size(); ++index) {
    const PlannedStep& step = plan_.steps[index];
    std::string sources;
    for (const std::size_t source : step.sources) {
      const PlannedImage& image = plan_.images[source];
      sources += (sources.empty() ? "" : ", ") + (image.isInput ? image.name : plan_.steps[image.producer].name);
    }
    text += fmt::format("{:3} {}", index, step.name);
    for (const auto& fused : step.fused) text += " + " + fused;
    text +=
        fmt::format(" <- {}; makes{}", sources, step.resultIsNeeded ? sizeOf(step.result) : std::string(" no image"));
    if (step.isInPlace) text += ", in place";
    if (step.trainingStyle == NNTrainingStyle::UpdateDeviceGPU) text += "; trains on the device";
    if (step.trainingStyle == NNTrainingStyle::UpdateDeviceCPU) text += "; trains on the host";
    text += "\n";
  }
  for (const auto& note : plan_.notes) text += "    " + note + "\n";
  if (memory_.withoutReuse > 0) {
    text += fmt::format("    temporary images: {} bytes, {} without reuse, {} the most alive at one time\n",
                        memory_.used, memory_.withoutReuse, memory_.largestAlive);
  }
  return text;
}

}  // namespace metalloid::detail
