#pragma once

#include "training/batch.hpp"
#include "training/graph_model.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metalloid::testing {

/// A small convolutional network that takes steps; dropout's masks and Adam's rate are never the same, and the results
/// of each step go to another place.
class ConvolutionSteps {
 public:
  static constexpr std::size_t kSteps = 12;

  ConvolutionSteps(const Device& device, std::size_t batch)
      : batch_(batch),
        queue_(device.makeCommandQueue()),
        model_(device, options(batch), batch),
        slot_(device, model_.batchLayout(), batch),
        losses_(device, {.length = batch * kSteps}) {
    model_.initialize(queue_, 3);
    std::vector<float> pixels(batch * 36);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
    std::vector<std::uint32_t> classes(batch);
    for (std::size_t i = 0; i < batch; ++i) classes[i] = static_cast<std::uint32_t>(i % 4);
    slot_.write(batch, pixels, classes);
  }

  /// `inFlight` command buffers are committed before the first is waited for. Calls f with each, before it is
  /// committed.
  template <class F>
  void run(std::size_t inFlight, const F& f) {
    std::vector<CommandBuffer> committed;
    for (std::size_t step = 0; step < kSteps; ++step) {
      CommandBuffer& commands = committed.emplace_back(queue_.makeCommandBuffer());
      const Vector losses(losses_.data(), step * batch_ * sizeof(float), {.length = batch_});
      model_.encodeTrainingStep(commands, slot_.batch(batch_), {.losses = losses, .correct = {}, .logits = {}}, 0.01f);
      f(commands);
      commands.commit();
      if (step + 1 >= inFlight) committed[step + 1 - inFlight].waitUntilCompleted();
    }
    committed.back().waitUntilCompleted();
  }
  void run(std::size_t inFlight) {
    run(inFlight, [](const CommandBuffer&) {});
  }

  std::vector<float> losses() const { return losses_.read<float>(); }
  const CommandQueue& queue() const { return queue_; }

 private:
  static training::TrainingOptions options(std::size_t batch) {
    training::TrainingOptions options;
    options.network.name = "small";
    options.network.text =
        "input 6x6x1\nconvolution 3x3x8\nbatch-normalization\nrelu\nmax-pool 2x2\ndense 12\nrelu\ndropout 0.2\ndense "
        "4\n";
    options.network.inputs = 36;
    options.network.classes = 4;
    options.batchSize = batch;
    return options;
  }

  std::size_t batch_;
  CommandQueue queue_;
  training::GraphModel model_;
  training::BatchSlot slot_;
  Vector losses_;
};

}  // namespace metalloid::testing
