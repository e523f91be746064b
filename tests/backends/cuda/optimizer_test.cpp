#include "backends/cuda/cuda_test_device.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/nn_optimizer.hpp>
#include <metalloid/vector.hpp>

#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace metalloid {
namespace {

using testing::CudaTest;

/// Whole packs and incomplete ones, less than a block and more than one.
constexpr std::size_t kLengths[] = {4, 1, 7, 4096, 10, 3001, 64, 2, 300000, 12, 5};

Vector filled(const Device& device, std::size_t length, double phase) {
  const Vector vector(device, {.length = length});
  std::vector<float> values(length);
  for (std::size_t i = 0; i < length; ++i) values[i] = static_cast<float>(std::sin(phase + static_cast<double>(i)));
  vector.write(values);
  return vector;
}

struct Parameter {
  Vector gradient, values;
  std::vector<Vector> states;
};

/// Records an update of a parameter; settings depend on which one it is, and on the step.
using Update = std::function<void(CommandBuffer&, const Parameter&, std::size_t which, std::size_t step)>;

NNOptimizerDescriptor settings(std::size_t which, std::size_t step) {
  return {.learningRate = 0.01f / static_cast<float>(step + 1),
          .gradientRescale = which % 2 == 0 ? 1.0f : 0.5f,
          .applyGradientClipping = which % 3 == 0,
          .gradientClipMax = 0.5f,
          .gradientClipMin = -0.5f,
          .regularizationType = which % 2 == 0 ? NNRegularizationType::L2 : NNRegularizationType::None,
          .regularizationScale = 0.01f};
}

/// Values and states after some steps: together in one command buffer, or each update in one of its own.
std::vector<float> train(const Device& device, const Update& update, bool isTogether) {
  const CommandQueue queue = device.makeCommandQueue();
  std::vector<Parameter> parameters;
  for (const std::size_t length : kLengths) {
    Parameter& parameter = parameters.emplace_back();
    const auto phase = static_cast<double>(length);
    parameter = {.gradient = filled(device, length, phase), .values = filled(device, length, phase + 1), .states = {}};
    for (int i = 0; i < 3; ++i) parameter.states.push_back(filled(device, length, phase + 2 + i));
    for (int i = 1; i < 3; ++i) parameter.states[static_cast<std::size_t>(i)].write(std::vector<float>(length, 0.5f));
  }
  for (std::size_t step = 0; step < 4; ++step) {
    CommandBuffer commands = queue.makeCommandBuffer();
    for (std::size_t which = 0; which < parameters.size(); ++which) {
      update(commands, parameters[which], which, step);
      if (isTogether) continue;
      commands.commit();
      commands = queue.makeCommandBuffer();
    }
    commands.commit();
    commands.waitUntilCompleted();
  }
  std::vector<float> all;
  for (const Parameter& parameter : parameters) {
    std::vector<Vector> vectors = parameter.states;
    vectors.push_back(parameter.values);
    for (const Vector& vector : vectors) {
      const auto values = vector.read<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

Update adamOf(const Device& device, bool hasMaximum) {
  return [=](CommandBuffer& commands, const Parameter& p, std::size_t which, std::size_t step) {
    NNOptimizerAdam adam(device, {.optimizerDescriptor = settings(which, step)});
    adam.timeStep = step;
    adam.encode(commands, {.inputGradientVector = p.gradient,
                           .inputValuesVector = p.values,
                           .inputMomentumVector = p.states[0],
                           .inputVelocityVector = p.states[1],
                           .maximumVelocityVector = hasMaximum ? p.states[2] : Vector(),
                           .resultValuesVector = p.values});
  };
}

Update descentOf(const Device& device, bool hasMomentum) {
  return [=](CommandBuffer& commands, const Parameter& p, std::size_t which, std::size_t step) {
    const NNOptimizerStochasticGradientDescent descent(
        device,
        {.momentumScale = 0.9f, .useNesterovMomentum = which % 2 == 0, .optimizerDescriptor = settings(which, step)});
    descent.encode(commands, {.inputGradientVector = p.gradient,
                              .inputValuesVector = p.values,
                              .inputMomentumVector = hasMomentum ? p.states[0] : Vector(),
                              .resultValuesVector = p.values});
  };
}

Update rmsPropOf(const Device& device) {
  return [=](CommandBuffer& commands, const Parameter& p, std::size_t which, std::size_t step) {
    const NNOptimizerRMSProp rmsProp(device, {.decay = 0.8, .optimizerDescriptor = settings(which, step)});
    rmsProp.encode(commands, {.inputGradientVector = p.gradient,
                              .inputValuesVector = p.values,
                              .inputSumOfSquaresVector = p.states[1],
                              .resultValuesVector = p.values});
  };
}

TEST_F(CudaTest, UpdatesTogetherGiveTheBitsOfUpdatesByThemselves) {
  const Update mixed = [&](CommandBuffer& commands, const Parameter& p, std::size_t which, std::size_t step) {
    (which % 2 == 0 ? adamOf(device, false) : descentOf(device, true))(commands, p, which, step);
  };
  const std::pair<const char*, Update> updates[] = {
      {"Adam", adamOf(device, false)},       {"AMSGrad", adamOf(device, true)}, {"descent", descentOf(device, false)},
      {"momentum", descentOf(device, true)}, {"RMSProp", rmsPropOf(device)},    {"Adam and descent in turn", mixed}};
  for (const auto& [name, update] : updates) {
    const auto together = train(device, update, true), single = train(device, update, false);
    std::size_t different = 0, first = together.size();
    for (std::size_t i = together.size(); i-- > 0;) {
      if (together[i] == single[i]) continue;
      ++different;
      first = i;
    }
    EXPECT_EQ(different, 0u) << name << ": of " << together.size() << " elements, from " << first << " on";
  }
}

TEST_F(CudaTest, UpdatesOfOneVectorStayInOrder) {
  const auto train = [&](bool isTogether) {
    const CommandQueue queue = device.makeCommandQueue();
    const Vector gradient = filled(device, 1000, 0), values = filled(device, 1000, 1),
                 momentum = filled(device, 1000, 2);
    CommandBuffer commands = queue.makeCommandBuffer();
    for (std::size_t i = 0; i < 8; ++i) {
      descentOf(device, true)(commands, {.gradient = gradient, .values = values, .states = {momentum}}, i, i);
      if (isTogether) continue;
      commands.commit();
      commands = queue.makeCommandBuffer();
    }
    commands.commit();
    commands.waitUntilCompleted();
    return values.read<float>();
  };
  EXPECT_EQ(train(true), train(false));
}

TEST_F(CudaTest, UpdatesSayThatTheyAreOfManyTensors) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const Vector gradient = filled(device, 10, 0), values = filled(device, 10, 1);
  descentOf(device, false)(commands, {.gradient = gradient, .values = values, .states = {}}, 0, 0);
  EXPECT_EQ(commands.explain().front().implementation, "multi-tensor");
}

}  // namespace
}  // namespace metalloid
