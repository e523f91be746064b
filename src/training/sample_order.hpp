#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metalloid::training {

/// A random order of the numbers 0 to count - 1 that depends on (seed, stream) alone: whoever resumes a run draws the
/// same one, without having drawn those before it. Fisher and Yates' shuffle with words of Philox under the key
/// (seed, 2^32 - 1) and the counter (i, stream).
std::vector<std::uint32_t> shuffledOrder(std::uint32_t seed, std::uint32_t stream, std::size_t count);

/// Which training images are trained on and which are held back, chosen at random by the seed, ascending.
struct Split {
  std::vector<std::uint32_t> training;
  std::vector<std::uint32_t> validation;
};

/// Holds back round(share * count) of `count` images. @throws Error (invalidArgument) when the share is above 0 but
/// holds back none, or leaves none to train on.
Split splitSamples(std::uint32_t seed, std::size_t count, double share);

/// 0, 1, … count - 1
std::vector<std::uint32_t> naturalOrder(std::size_t count);

}  // namespace metalloid::training
