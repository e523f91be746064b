#include "backends/cuda/cuda_test_device.hpp"

#include "math/philox.hpp"
#include "training/batch.hpp"
#include "training/model.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/vector.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// Two devices round differently, and training magnifies differences. How far they have come apart after a hundred steps
// is told in shares of the way that the parameters have gone.
namespace metalloid {
namespace {

using testing::CudaTest;
using training::Batch;
using training::BatchSlot;
using training::Model;
using training::NamedTensor;
using training::TrainingOptions;

constexpr std::size_t kSteps = 100, kRows = 128, kBatches = 8;

/// Noise, brighter where the class has its pattern.
void writeBatch(BatchSlot& slot, std::size_t number, std::size_t inputs) {
  const math::Philox random{number};
  std::vector<float> pixels(kRows * inputs);
  std::vector<std::uint32_t> labels(kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    labels[i] = random.word(pixels.size() + i) % 10;
    for (std::size_t j = 0; j < inputs; ++j) {
      const float noise = static_cast<float>(random.word(i * inputs + j) % 1000) / 1000;
      pixels[i * inputs + j] = noise + ((j / 7 + 3 * labels[i]) % 11 == 0 ? 0.3f : 0.0f);
    }
  }
  slot.write(kRows, pixels, labels);
}

/// All parameters after so many steps from those of `start`.
std::vector<NamedTensor> train(const Device& device, const TrainingOptions& options,
                               const std::vector<NamedTensor>& start) {
  const CommandQueue queue = device.makeCommandQueue();
  const std::unique_ptr<Model> model = training::makeModel(device, options, kRows);
  model->initialize(queue, options.seed);
  model->assign(start);
  std::vector<BatchSlot> slots;
  for (std::size_t n = 0; n < kBatches; ++n) {
    writeBatch(slots.emplace_back(device, model->batchLayout(), kRows), n, options.network.inputs);
  }
  const Vector losses(device, {.length = kRows});
  for (std::size_t step = 0; step < kSteps; ++step) {
    CommandBuffer commands = queue.makeCommandBuffer();
    model->encodeTrainingStep(commands, slots[step % kBatches].batch(kRows),
                              {.losses = losses, .correct = {}, .logits = {}}, options.optimizer.learningRate);
    commands.commit();
    commands.waitUntilCompleted();
  }
  return model->tensors();
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum);
}

void expectClose(const Device& device, const TrainingOptions& options, double tolerance) {
  const Device cpu = Device::named("cpu");
  const std::unique_ptr<Model> model = training::makeModel(cpu, options, kRows);
  model->initialize(cpu.makeCommandQueue(), options.seed);
  const std::vector<NamedTensor> start = model->tensors();
  const std::vector<NamedTensor> expected = train(cpu, options, start), actual = train(device, options, start);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t t = 0; t < expected.size(); ++t) {
    const double way = distance(expected[t].values, start[t].values);
    const double apart = distance(actual[t].values, expected[t].values);
    EXPECT_LE(apart, tolerance * way) << expected[t].name << ": " << apart / way << " of the way";
    ::testing::Test::RecordProperty(expected[t].name, std::to_string(apart / way));
  }
}

using HundredSteps = CudaTest;

TEST_F(HundredSteps, StayCloseToTheCpusWithAdam) {
  TrainingOptions options;
  options.batchSize = kRows;
  expectClose(device, options, 0.001);
}

TEST_F(HundredSteps, StayCloserWithGradientDescent) {
  TrainingOptions options;
  options.batchSize = kRows;
  options.optimizer.kind = training::OptimizerKind::sgd;
  options.optimizer.learningRate = 0.01f;
  expectClose(device, options, 0.001);
}

}  // namespace
}  // namespace metalloid
