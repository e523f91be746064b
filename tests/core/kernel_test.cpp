#include "formats/expect_error.hpp"

#include <metalloid/error.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/kernel_options.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <functional>
#include <sstream>
#include <string>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

const Device kDevice = Device::named("null");
const Device kOther = Device::named("cpu");

TEST(KernelTest, HasItsDefaults) {
  const MatrixNeuron kernel(kDevice);
  EXPECT_EQ(kernel.label, "");
  EXPECT_EQ(kernel.options, KernelOptions::none);
  EXPECT_EQ(kernel.device(), kDevice);
  EXPECT_EQ(kernel.name(), "MatrixNeuron");
  EXPECT_EQ(kernel.batchStart, 0u);
  EXPECT_EQ(kernel.batchSize, all);
  EXPECT_EQ(kernel.sourceMatrixOrigin, (Origin{0, 0, 0}));
  EXPECT_EQ(kernel.resultMatrixOrigin, (Origin{0, 0, 0}));
}

TEST(KernelTest, NeedsADevice) {
  expectError(ErrorCode::invalidArgument, {"MatrixNeuron", "nil"}, [] { MatrixNeuron{Device()}; });
}

TEST(KernelTest, IsNamedByClassAndLabel) {
  MatrixNeuron kernel(kDevice);
  kernel.label = "relu1";
  EXPECT_EQ(kernel.name(), "MatrixNeuron \"relu1\"");
}

/// One change of every setting that a neuron kernel has.
const std::vector<std::pair<std::string, std::function<void(MatrixNeuron&)>>> kChanges = {
    {"label", [](auto& k) { k.label = "x"; }},
    {"options", [](auto& k) { k.options = KernelOptions::verbose; }},
    {"sourceMatrixOrigin.x", [](auto& k) { k.sourceMatrixOrigin.x = 1; }},
    {"sourceMatrixOrigin.y", [](auto& k) { k.sourceMatrixOrigin.y = 1; }},
    {"resultMatrixOrigin.z", [](auto& k) { k.resultMatrixOrigin.z = 1; }},
    {"batchStart", [](auto& k) { k.batchStart = 1; }},
    {"batchSize", [](auto& k) { k.batchSize = 1; }},
    {"sourceNumberOfFeatureVectors", [](auto& k) { k.sourceNumberOfFeatureVectors = 1; }},
    {"sourceInputFeatureChannels", [](auto& k) { k.sourceInputFeatureChannels = 1; }},
    {"alpha", [](auto& k) { k.alpha = 1.0000000000000002; }},
    {"neuronType", [](auto& k) { k.setNeuronType(CNNNeuronType::sigmoid); }},
    {"neuronParameterA", [](auto& k) { k.setNeuronType(CNNNeuronType::none, 1); }},
    {"neuronParameterB", [](auto& k) { k.setNeuronType(CNNNeuronType::none, 0, 1); }},
    {"neuronParameterC", [](auto& k) { k.setNeuronType(CNNNeuronType::none, 0, 0, 1); }},
    {"parametersA", [](auto& k) { k.setNeuronToPReLU(std::vector<float>{1}); }},
    {"parametersA",
     [](auto& k) {
       k.setNeuronToPReLU(std::vector<float>{1, 1});
     }},
};

TEST(KernelTest, EqualityHashAndDescriptionSeeEverySetting) {
  const MatrixNeuron plain(kDevice);
  std::unordered_set<std::string> descriptions{plain.description()};
  for (const auto& [setting, change] : kChanges) {
    SCOPED_TRACE(setting);
    MatrixNeuron changed(kDevice), same(kDevice);
    EXPECT_EQ(changed, plain);
    change(changed);
    EXPECT_NE(changed, plain);
    change(same);
    EXPECT_EQ(changed, same);
    EXPECT_EQ(std::hash<MatrixNeuron>()(changed), std::hash<MatrixNeuron>()(same));
    EXPECT_NE(changed.hash(), plain.hash());  // different texts, equal only by chance
    EXPECT_NE(changed.description().find(setting), std::string::npos) << changed.description();
    EXPECT_TRUE(descriptions.insert(changed.description()).second) << changed.description();
  }
}

TEST(KernelTest, LabelsCannotPretendToBeSettings) {
  MatrixNeuron a(kDevice), b(kDevice);
  a.label = "x\", options 16, \"";
  b.label = "x";
  b.options = KernelOptions::verbose;
  EXPECT_NE(a, b);
}

TEST(KernelTest, IsEqualOnlyOnItsDeviceAndInItsClass) {
  const MatrixNeuron neuron(kDevice);
  EXPECT_NE(neuron, MatrixNeuron(kOther));
  const Kernel& kernel = neuron;
  EXPECT_FALSE(kernel == MatrixNeuronGradient(kDevice));
  EXPECT_TRUE(kernel == MatrixNeuron(kDevice));
}

TEST(KernelTest, IsPrinted) {
  MatrixNeuron kernel(kDevice);
  kernel.label = "relu1";
  kernel.setNeuronType(CNNNeuronType::reLU, 0.125f);
  std::ostringstream stream;
  stream << kernel;
  EXPECT_EQ(stream.str(), kernel.description());
  for (const char* part : {"MatrixNeuron", "null", "relu1", "neuronParameterA 0.125", "batchSize all"}) {
    EXPECT_NE(stream.str().find(part), std::string::npos) << stream.str();
  }
  EXPECT_EQ(stream.str().find('\n'), std::string::npos);
}

TEST(KernelTest, CopiesAreIndependent) {
  MatrixNeuron kernel(kDevice);
  kernel.setNeuronToPReLU(std::vector<float>{1, 2});
  kernel.label = "original";
  MatrixNeuron copy = kernel.copy();
  EXPECT_EQ(copy, kernel);
  EXPECT_EQ(copy.device(), kDevice);
  copy.label = "copy";
  copy.setNeuronType(CNNNeuronType::none);
  EXPECT_EQ(kernel.label, "original");
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::pReLU);
  MatrixNeuron assigned(kDevice);
  assigned = kernel;
  EXPECT_EQ(assigned, kernel);
}

TEST(KernelTest, CopiesToAnotherDeviceKeepEverySetting) {
  for (const auto& [setting, change] : kChanges) {
    MatrixNeuron kernel(kDevice), expected(kOther);
    change(kernel);
    change(expected);
    const MatrixNeuron copy = kernel.copy(kOther);
    EXPECT_EQ(copy, expected) << setting;
    EXPECT_EQ(copy.device(), kOther);
    EXPECT_EQ(copy.copy(kDevice), kernel) << setting;
  }
}

TEST(KernelTest, AnEncodeTakesASnapshot) {
  const Matrix input(kOther, {.rows = 1, .columns = 2}), result(kOther, {.rows = 1, .columns = 2});
  input.write(std::vector<float>{-1, 1});
  CommandBuffer commands = kOther.makeCommandQueue().makeCommandBuffer();
  {
    MatrixNeuron kernel(kOther);
    kernel.setNeuronToPReLU(std::vector<float>{0.5f, 0.5f});
    kernel.encode(commands, {.inputMatrix = input, .resultMatrix = result});
    kernel.setNeuronType(CNNNeuronType::linear, 100);
    kernel.alpha = 7;
  }
  commands.commit();
  EXPECT_EQ(result.read<float>(), (std::vector<float>{-0.5f, 1}));
}

TEST(KernelOptionsTest, AreASet) {
  const KernelOptions both = KernelOptions::verbose | KernelOptions::insertDebugGroups;
  EXPECT_TRUE(contains(both, KernelOptions::verbose));
  EXPECT_FALSE(contains(both, KernelOptions::allowReducedPrecision));
  EXPECT_TRUE(contains(both, KernelOptions::none));
  EXPECT_EQ(static_cast<std::uint64_t>(both), 24u);
}

TEST(KernelOptionsTest, SkippingValidationSkipsNothing) {
  MatrixNeuron kernel(kDevice);
  kernel.options = KernelOptions::skipAPIValidation | KernelOptions::disableInternalTiling;
  CommandBuffer commands = kDevice.makeCommandQueue().makeCommandBuffer();
  expectError(ErrorCode::invalidArgument, {"inputMatrix is nil"}, [&] { kernel.encode(commands, {}); });
}

TEST(KernelOptionsTest, VerboseWritesWhatRunsToStderr) {
  const Matrix matrix(kOther, {.rows = 3, .columns = 2});
  CommandBuffer commands = kOther.makeCommandQueue().makeCommandBuffer();
  MatrixNeuron kernel(kOther);
  kernel.label = "loud";
  kernel.options = KernelOptions::verbose;
  ::testing::internal::CaptureStderr();
  kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("MatrixNeuron \"loud\""), std::string::npos) << text;
  EXPECT_NE(text.find(commands.explain()[0].implementation), std::string::npos) << text;
}

TEST(ErrorTest, CarriesItsContext) {
  const Error error(ErrorCode::device, "The disk is on fire.");
  EXPECT_EQ(error.message(), "The disk is on fire.");
  EXPECT_STREQ(error.what(), "The disk is on fire.");
  const Error located = error.during("encoding node 4").during("training");
  EXPECT_EQ(located.code(), ErrorCode::device);
  EXPECT_EQ(located.message(), "The disk is on fire.");
  EXPECT_STREQ(located.what(), "The disk is on fire.\n - While encoding node 4\n - While training");
  EXPECT_EQ(name(ErrorCode::malformedFile), "malformedFile");
  static_assert(std::is_base_of_v<std::runtime_error, Error>);
  static_assert(std::is_nothrow_copy_constructible_v<Error>);
}

}  // namespace
}  // namespace metalloid
