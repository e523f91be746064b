#include "training/training_options.hpp"

#include "training/json_members.hpp"

#include <metalloid/error.hpp>

#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace metalloid::training {
namespace {

TrainingOptions unusual() {
  TrainingOptions options;
  options.device = "reference";
  options.network = {.inputs = 3,
                     .classes = 2,
                     .hidden = {5, 7},
                     .neuron = {.type = CNNNeuronType::tanH, .a = 1.1f, .b = 0.3f, .c = 0},
                     .batchNormalization = false,
                     .batchNormalizationEpsilon = 1e-3f,
                     .batchNormalizationMomentum = 0.07f};
  options.optimizer = {.kind = OptimizerKind::rmsprop,
                       .learningRate = 0.123f,
                       .momentum = 0.1f,
                       .nesterov = true,
                       .decay = 0.77,
                       .epsilon = 1e-5f,
                       .beta1 = 0.1,
                       .beta2 = 0.2,
                       .amsgrad = true,
                       .weightDecay = 0,
                       .l1 = 0.3f,
                       .gradientClip = 0.7f};
  options.schedule = Schedule::step;
  options.seed = 4'000'000'000u;
  options.validationSplit = 0.1;
  return options;
}

TEST(TrainingOptions, SurviveJson) {
  for (const TrainingOptions& options : {TrainingOptions(), unusual()}) {
    // Through text, as in a file: no number may change a bit.
    const auto json = nlohmann::json::parse(toJson(options).dump());
    EXPECT_EQ(trainingOptionsFromJson(json, "The options"), options);
  }
}

TEST(TrainingOptions, EveryMemberThatIsMissingOrMistypedIsNamed) {
  const nlohmann::json good = toJson(unusual());
  const std::function<void(const nlohmann::json::json_pointer&, const nlohmann::json&)> visit =
      [&](const nlohmann::json::json_pointer& path, const nlohmann::json& value) {
        for (const auto& [key, member] : value.items()) {
          if (!value.is_object()) continue;
          const auto memberPath = path / key;
          nlohmann::json missing = good;
          missing[path].erase(key);
          nlohmann::json mistyped = good;
          mistyped[memberPath] = nlohmann::json::object({{"a", 1}});
          for (const auto& bad : {missing, mistyped}) {
            try {
              trainingOptionsFromJson(bad, "The options");
              ADD_FAILURE() << memberPath.to_string();
            } catch (const Error& error) {
              EXPECT_EQ(error.code(), ErrorCode::malformedFile);
              if (!member.is_object()) {
                EXPECT_NE(std::string(error.what()).find('"' + key + '"'), std::string::npos) << error.what();
              }
            }
          }
          visit(memberPath, member);
        }
      };
  visit(nlohmann::json::json_pointer(), good);
}

TEST(TrainingOptions, ImpossibleValuesInAFileAreRefused) {
  nlohmann::json json = toJson(TrainingOptions());
  json["epochs"] = -1;
  EXPECT_THROW(trainingOptionsFromJson(json, "The options"), Error);
  json["epochs"] = 1.5;
  EXPECT_THROW(trainingOptionsFromJson(json, "The options"), Error);
  json["epochs"] = 0;
  EXPECT_THROW(trainingOptionsFromJson(json, "The options"), Error);
  json["epochs"] = 1;
  json["seed"] = 1ull << 32;
  EXPECT_THROW(trainingOptionsFromJson(json, "The options"), Error);
}

TEST(TrainingOptions, DefaultsAreAllowed) { EXPECT_NO_THROW(check(TrainingOptions())); }

TEST(LearningRate, FollowsItsSchedule) {
  TrainingOptions options;
  options.epochs = 4;
  options.optimizer.learningRate = 0.5f;
  options.schedule = Schedule::constant;
  EXPECT_EQ(learningRateAt(options, 0, 10), 0.5f);
  EXPECT_EQ(learningRateAt(options, 39, 10), 0.5f);
  options.schedule = Schedule::cosine;
  EXPECT_EQ(learningRateAt(options, 0, 10), 0.5f);
  EXPECT_FLOAT_EQ(learningRateAt(options, 20, 10), 0.25f);
  EXPECT_GT(learningRateAt(options, 39, 10), 0);
  EXPECT_LT(learningRateAt(options, 39, 10), 0.01f);
  options.schedule = Schedule::step;
  options.scheduleStepEpochs = 2;
  options.scheduleStepFactor = 0.1f;
  EXPECT_EQ(learningRateAt(options, 19, 10), 0.5f);
  EXPECT_FLOAT_EQ(learningRateAt(options, 20, 10), 0.05f);
}

TEST(Neurons, AreFoundByName) {
  EXPECT_EQ(neuronTypeNamed("relu"), CNNNeuronType::reLU);
  EXPECT_EQ(neuronTypeNamed("GeLU"), CNNNeuronType::geLU);
  EXPECT_EQ(neuronTypeNamed("hard-sigmoid"), CNNNeuronType::hardSigmoid);
  EXPECT_EQ(neuronTypeNamed("prelu"), CNNNeuronType::pReLU);
  EXPECT_THROW(neuronTypeNamed("count"), Error);
  EXPECT_THROW(neuronTypeNamed(""), Error);
}

TEST(NetworkOptions, ImpossibleNetworksAreRefused) {
  const auto refused = [](auto change) {
    NetworkOptions options;
    change(options);
    EXPECT_THROW(check(options), Error);
  };
  refused([](NetworkOptions& options) { options.inputs = 0; });
  refused([](NetworkOptions& options) { options.classes = 0; });
  refused([](NetworkOptions& options) { options.hidden = {4, 0}; });
  refused([](NetworkOptions& options) { options.hidden = {std::size_t{1} << 40}; });
  refused([](NetworkOptions& options) { options.neuron = {.type = CNNNeuronType::logarithm, .a = 1, .b = 0, .c = 1}; });
  refused([](NetworkOptions& options) {
    options.neuron = {.type = CNNNeuronType::pReLU, .a = std::numeric_limits<float>::quiet_NaN()};
  });
  refused([](NetworkOptions& options) { options.batchNormalizationEpsilon = 0; });
  refused([](NetworkOptions& options) { options.batchNormalizationMomentum = 0; });
}

}  // namespace
}  // namespace metalloid::training
