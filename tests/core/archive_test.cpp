#include "core/settings_visitor.hpp"

#include "formats/expect_error.hpp"

#include <metalloid/archive.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix_batch_normalization.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

const Device kDevice = Device::named("null");

MatrixNeuronGradient neuronGradient() {
  MatrixNeuronGradient kernel(kDevice);
  kernel.label = "relu \"1\"\n";
  kernel.options = KernelOptions::verbose | KernelOptions::allowReducedPrecision;
  kernel.primarySourceMatrixOrigin = {1, 2, 0};
  kernel.resultMatrixOrigin = {3, 4, 5};
  kernel.batchStart = 6;
  kernel.batchSize = 7;
  kernel.sourceNumberOfFeatureVectors = 8;
  kernel.alpha = -0.1;
  kernel.setNeuronType(CNNNeuronType::hardSigmoid, 0.25f, -1e-30f);
  return kernel;
}

std::vector<std::byte> archiveOf(const Kernel& kernel) {
  Archiver archiver;
  kernel.encode(archiver);
  return archiver.finish();
}

void decodeNeuronGradient(std::span<const std::byte> bytes) {
  Unarchiver unarchiver(bytes);
  const MatrixNeuronGradient kernel(unarchiver, kDevice);
}

TEST(ArchiveTest, GivesBackWhatWentIn) {
  const MatrixNeuronGradient kernel = neuronGradient();
  const auto bytes = archiveOf(kernel);
  Unarchiver unarchiver(bytes);
  EXPECT_FALSE(unarchiver.atEnd());
  const MatrixNeuronGradient again(unarchiver, kDevice);
  EXPECT_TRUE(unarchiver.atEnd());
  EXPECT_EQ(again, kernel);
  EXPECT_EQ(again.label, kernel.label);
  EXPECT_EQ(again.options, kernel.options);
  EXPECT_EQ(again.resultMatrixOrigin, kernel.resultMatrixOrigin);
  EXPECT_EQ(again.sourceInputFeatureChannels, all);
  EXPECT_EQ(again.alpha, kernel.alpha);
  EXPECT_EQ(again.neuronType(), CNNNeuronType::hardSigmoid);
  EXPECT_EQ(again.neuronParameterB(), -1e-30f);
  EXPECT_EQ(archiveOf(again), bytes);
}

TEST(ArchiveTest, HoldsSeveralObjectsInTheirOrder) {
  const MatrixNeuronGradient first = neuronGradient();
  MatrixBatchNormalization second(kDevice);
  second.epsilon = 0.5f;
  second.computeStatistics = true;
  MatrixNeuron third(kDevice);
  third.setNeuronToPReLU(std::vector<float>{0.25f, -3});
  Archiver archiver;
  first.encode(archiver);
  const auto partial = archiver.finish();  // does not end it
  second.encode(archiver);
  third.encode(archiver);
  const auto bytes = archiver.finish();

  Unarchiver unarchiver(bytes);
  EXPECT_EQ(MatrixNeuronGradient(unarchiver, kDevice), first);
  EXPECT_EQ(MatrixBatchNormalization(unarchiver, kDevice), second);
  EXPECT_EQ(MatrixNeuron(unarchiver, kDevice), third);
  EXPECT_TRUE(unarchiver.atEnd());
  expectError(ErrorCode::malformedFile, {}, [&] { MatrixNeuron(unarchiver, kDevice); });
  decodeNeuronGradient(partial);
}

TEST(ArchiveTest, OfNothingIsAtItsEnd) {
  const Unarchiver unarchiver(Archiver().finish());
  EXPECT_TRUE(unarchiver.atEnd());
}

TEST(ArchiveTest, TravelsToAnotherDevice) {
  const Device cpu = Device::named("cpu");
  MatrixNeuron kernel(kDevice);
  kernel.setNeuronToPReLU(std::vector<float>{1, 2, 3});
  const auto bytes = archiveOf(kernel);
  Unarchiver unarchiver(bytes);
  const MatrixNeuron again(unarchiver, cpu);
  EXPECT_EQ(again.device(), cpu);
  EXPECT_NE(again, kernel) << "Of another device it is another kernel.";
  EXPECT_EQ(again, kernel.copy(cpu));
}

TEST(ArchiveTest, OfAnotherClassIsRefused) {
  const auto bytes = archiveOf(neuronGradient());
  Unarchiver unarchiver(bytes);
  expectError(ErrorCode::malformedFile, {"MatrixNeuronGradient", "MatrixNeuron was asked for"},
              [&] { MatrixNeuron(unarchiver, kDevice); });
}

TEST(ArchiveTest, IsRefusedWhereverItIsCut) {
  const auto bytes = archiveOf(neuronGradient());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    SCOPED_TRACE(length);
    expectError(ErrorCode::malformedFile, {}, [&] { decodeNeuronGradient(std::span(bytes).first(length)); });
  }
}

TEST(ArchiveTest, IsRefusedWhateverBitIsWrong) {
  const auto bytes = archiveOf(neuronGradient());
  for (std::size_t position = 0; position < bytes.size(); ++position) {
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = bytes;
      damaged[position] ^= std::byte{1} << bit;
      SCOPED_TRACE(position);
      expectError(ErrorCode::malformedFile, {}, [&] { decodeNeuronGradient(damaged); });
    }
  }
}

TEST(ArchiveTest, IsRefusedWithBytesTooMany) {
  auto bytes = archiveOf(neuronGradient());
  bytes.push_back({});
  expectError(ErrorCode::malformedFile, {}, [&] { decodeNeuronGradient(bytes); });
}

// --- Archives that are whole but lie --------------------------------------------------------------------------------

/// Recomputes the checksum (FNV-1a, as the format has it), so that damage reaches the decoding.
void seal(std::vector<std::byte>& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i + 8 < bytes.size(); ++i)
    hash = (hash ^ static_cast<std::uint64_t>(bytes[i])) * 0x100000001b3u;
  for (std::size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<std::byte>(hash >> (8 * i));
}

TEST(HostileArchiveTest, NeverDoesWorseThanAnError) {
  MatrixNeuron kernel(kDevice);
  kernel.label = "x";
  kernel.setNeuronToPReLU(std::vector<float>{1, 2});
  const auto bytes = archiveOf(kernel);
  int accepted = 0, refused = 0;
  for (std::size_t position = 0; position + 8 < bytes.size(); ++position) {
    for (const unsigned change : {0x01u, 0x80u, 0xffu}) {
      auto forged = bytes;
      forged[position] ^= static_cast<std::byte>(change);
      seal(forged);
      try {
        Unarchiver unarchiver(forged);
        const MatrixNeuron decoded(unarchiver, kDevice);
        ++accepted;  // another value of a setting
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::malformedFile) << "byte " << position << ": " << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, accepted) << "Most bytes are names and lengths.";
}

TEST(HostileArchiveTest, CutAndSealedIsRefused) {
  const auto bytes = archiveOf(neuronGradient());
  for (std::size_t length = 28; length < bytes.size(); ++length) {
    auto forged = bytes;
    forged.resize(length);
    seal(forged);
    expectError(ErrorCode::malformedFile, {}, [&] { decodeNeuronGradient(forged); });
  }
}

/// A kernel that archives itself as a MatrixNeuron or another kernel would, with settings that the class cannot have.
template <class Base>
class Forgery final : public Base {
 public:
  Forgery(std::string_view className, std::vector<std::string> sizes, bool hasEpsilon)
      : Base(kDevice, className), sizes_(std::move(sizes)), hasEpsilon_(hasEpsilon) {}

  std::int64_t neuronType = 0;
  float a = 0, b = 0, c = 0;
  std::vector<float> slopes;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override {
    Base::visitSettings(visitor);
    std::uint64_t everything = all;
    for (const std::string& size : sizes_) visitor.visit(size, everything);
    float epsilon = 1;
    bool computeStatistics = false;
    double alpha = 1;
    if (hasEpsilon_) {
      visitor.visit("epsilon", epsilon);
      if constexpr (std::is_same_v<Base, MatrixUnaryKernel>) visitor.visit("computeStatistics", computeStatistics);
    } else {
      visitor.visit("alpha", alpha);
    }
    auto type = static_cast<std::uint64_t>(neuronType);
    visitor.visit("neuronType", type);
    visitor.visit("neuronParameterA", a);
    visitor.visit("neuronParameterB", b);
    visitor.visit("neuronParameterC", c);
    visitor.visit("parametersA", slopes);
  }

 private:
  std::vector<std::string> sizes_;
  bool hasEpsilon_;
};

const std::vector<std::string> kLimits = {"sourceNumberOfFeatureVectors", "sourceInputFeatureChannels"};
const std::vector<std::string> kThreeLimits = {"sourceNumberOfFeatureVectors", "sourceInputFeatureChannels",
                                               "sourceOutputFeatureChannels"};

template <class Class, class Forged>
void decodeAs(const Forged& forged) {
  const auto bytes = archiveOf(forged);
  Unarchiver unarchiver(bytes);
  const Class kernel(unarchiver, kDevice);
}

TEST(HostileArchiveTest, NeuronsAreCheckedAsTheSettersDo) {
  using Neuron = Forgery<MatrixUnaryKernel>;
  const auto refuses = [](const std::function<void(Neuron&)>& forge) {
    Neuron forged("MatrixNeuron", kLimits, false);
    decodeAs<MatrixNeuron>(forged);  // as it stands it is fine
    forge(forged);
    expectError(ErrorCode::malformedFile, {"neuron"}, [&] { decodeAs<MatrixNeuron>(forged); });
  };
  const auto type = [](CNNNeuronType t) { return static_cast<std::int64_t>(t); };
  refuses([](Neuron& n) { n.neuronType = 16; });
  refuses([](Neuron& n) { n.neuronType = -1; });
  refuses([](Neuron& n) { n.neuronType = (std::int64_t{1} << 32) + 1; });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::pReLU); });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::pReLU), n.slopes = {1, NAN}; });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::reLU), n.a = NAN; });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::exponential), n.c = 0; });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::logarithm), n.c = 1; });
  refuses([&](Neuron& n) { n.neuronType = type(CNNNeuronType::logarithm), n.c = -2; });
}

// A pReLU belongs to the neuron kernels alone; elsewhere there is no setter for it.
TEST(HostileArchiveTest, PReLUIsRefusedWhereTheClassHasNone) {
  const auto makePReLU = [](auto& forged) {
    forged.neuronType = static_cast<std::int64_t>(CNNNeuronType::pReLU);
    forged.slopes = {0.5f, 2};
  };
  Forgery<MatrixBinaryKernel> fullyConnected("MatrixFullyConnected", kThreeLimits, false);
  decodeAs<MatrixFullyConnected>(fullyConnected);
  makePReLU(fullyConnected);
  expectError(ErrorCode::malformedFile, {"neuron"}, [&] { decodeAs<MatrixFullyConnected>(fullyConnected); });

  Forgery<MatrixUnaryKernel> normalization("MatrixBatchNormalization", kLimits, true);
  decodeAs<MatrixBatchNormalization>(normalization);
  makePReLU(normalization);
  expectError(ErrorCode::malformedFile, {"neuron"}, [&] { decodeAs<MatrixBatchNormalization>(normalization); });

  Forgery<MatrixBinaryKernel> gradient("MatrixBatchNormalizationGradient", kLimits, true);
  decodeAs<MatrixBatchNormalizationGradient>(gradient);
  makePReLU(gradient);
  expectError(ErrorCode::malformedFile, {"neuron"}, [&] { decodeAs<MatrixBatchNormalizationGradient>(gradient); });
}

}  // namespace
}  // namespace metalloid
