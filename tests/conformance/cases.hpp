#pragma once

#include "conformance/trial.hpp"
#include "conformance/variant.hpp"

#include <vector>

namespace metalloid::conformance {

/// A kernel under test: how to run one variant of it, and which variants there are.
struct Case {
  const char* name;
  void (*run)(Trial&);
  std::vector<Sizes> smallSizes;  ///< tried with every storage, type and combination of choices
  std::vector<Sizes> largeSizes;  ///< tried with some, by seed
  int choices = 0;                ///< yes-or-no questions that the case asks: optional operands, in place, ...
  Matrices matrices = Matrices::batch;
  std::vector<Types> types = kLayerTypes;
  bool isExactOnIntegers = false;     ///< sums and products only: large sizes use small integers and tolerate nothing
  bool hasOrigins = true;             ///< works on regions of its operands
  std::vector<Sizes> hugeSizes = {};  ///< tried once, packed float32, where memory traffic may choose the code
  std::uint64_t hugeChoices = 0;      ///< the choices that go with them
  /// Tried packed, with every type, where whole packs and the number of rows may choose the code.
  std::vector<Sizes> packedSizes = {};
};

// One file for each kernel family.
std::vector<Case> fullyConnectedCases();
std::vector<Case> neuronCases();
std::vector<Case> batchNormalizationCases();
std::vector<Case> softmaxCases();
std::vector<Case> multiplicationCases();
std::vector<Case> sumCases();
std::vector<Case> copyCases();
std::vector<Case> findTopKCases();
std::vector<Case> randomCases();
std::vector<Case> optimizerCases();

/// All of them.
std::vector<Case> allCases();

// Sizes of rows x columns: nothing, one, lengths that are no multiple of any vector, and lengths beyond 2^15.
inline const std::vector<Sizes> kSmallMatrices = {{0, 0}, {0, 5}, {5, 0}, {1, 1}, {1, 33}, {33, 1}, {33, 7}, {13, 17}};
inline const std::vector<Sizes> kLargeMatrices = {{64, 64}, {131, 67}, {257, 129}, {32769, 3}, {3, 32769}};
inline const std::vector<Sizes> kHugeMatrices = {{4112, 1024}};  // more than 16 MiB

}  // namespace metalloid::conformance
