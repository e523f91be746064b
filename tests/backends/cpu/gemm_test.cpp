// Long: one product in every layout, type and size that its tiles treat in a way of its own.

#include "backends/cpu/gemm.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace metalloid::cpu {
namespace {

// --- Numbers, written once more and differently from the library ----------------------------------------------------

constexpr float kEpsilon = std::numeric_limits<float>::epsilon() / 2;  // the unit roundoff

double decodeHalf(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

double decodeBrainFloat(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// The nearest of all 16-bit numbers, the even one of two equally near: by search, over the sorted non-negative ones.
template <class Decode>
std::uint16_t encodeBySearch(double value, std::uint16_t infinity, Decode decode) {
  if (std::isnan(value)) return static_cast<std::uint16_t>(infinity | (infinity >> 1));
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  std::uint16_t below = 0;
  std::uint16_t above = infinity;
  if (std::isinf(magnitude)) return static_cast<std::uint16_t>(sign | infinity);
  while (above - below > 1) {
    const auto middle = static_cast<std::uint16_t>((above + below) / 2);
    (decode(middle) <= magnitude ? below : above) = middle;
  }
  // For rounding, infinity stands where the next number would be.
  const double step = decode(infinity - 1) - decode(infinity - 2);
  const double upper = above == infinity ? decode(infinity - 1) + step : decode(above);
  const double toBelow = magnitude - decode(below);
  const double toAbove = upper - magnitude;
  const bool up = toAbove < toBelow || (toAbove == toBelow && below % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? above : below));
}

std::uint16_t encodeHalf(double value) { return encodeBySearch(value, 0x7C00, decodeHalf); }
std::uint16_t encodeBrainFloat(double value) { return encodeBySearch(value, 0x7F80, decodeBrainFloat); }

std::size_t bytesOf(GemmType type) {
  switch (type) {
    case GemmType::float32:
      return 4;
    case GemmType::int8:
      return 1;
    default:
      return 2;
  }
}

/// A matrix of any type in guarded memory.
class Matrix {
 public:
  Matrix(std::size_t rows, std::size_t columns, std::size_t padding, GemmType type)
      : rows_(rows),
        columns_(columns),
        stride_(columns + padding),
        type_(type),
        bytes_((2 * kGuard + rows * stride_) * bytesOf(type), kGuardByte) {}

  std::size_t stride() const { return stride_; }
  GemmType type() const { return type_; }
  void* data() { return bytes_.data() + kGuard * bytesOf(type_); }
  const void* data() const { return bytes_.data() + kGuard * bytesOf(type_); }

  double at(std::size_t row, std::size_t column) const {
    const std::size_t index = row * stride_ + column;
    switch (type_) {
      case GemmType::float32:
        return static_cast<const float*>(data())[index];
      case GemmType::float16:
        return decodeHalf(static_cast<const std::uint16_t*>(data())[index]);
      case GemmType::bfloat16:
        return decodeBrainFloat(static_cast<const std::uint16_t*>(data())[index]);
      case GemmType::int8:
        return static_cast<const std::int8_t*>(data())[index];
      default:
        return static_cast<const std::int16_t*>(data())[index];
    }
  }

  void set(std::size_t row, std::size_t column, double value) {
    const std::size_t index = row * stride_ + column;
    switch (type_) {
      case GemmType::float32:
        static_cast<float*>(data())[index] = static_cast<float>(value);
        break;
      case GemmType::float16:
        static_cast<std::uint16_t*>(data())[index] = encodeHalf(value);
        break;
      case GemmType::bfloat16:
        static_cast<std::uint16_t*>(data())[index] = encodeBrainFloat(value);
        break;
      case GemmType::int8:
        static_cast<std::int8_t*>(data())[index] = static_cast<std::int8_t>(value);
        break;
      case GemmType::int16:
        static_cast<std::int16_t*>(data())[index] = static_cast<std::int16_t>(value);
        break;
    }
  }

  void fill(std::mt19937& random) {
    std::uniform_real_distribution<double> real(-1.0, 1.0);
    std::uniform_int_distribution<int> integer(-100, 100);
    const bool isInteger = type_ == GemmType::int8 || type_ == GemmType::int16;
    for (std::size_t row = 0; row < rows_; ++row) {
      for (std::size_t column = 0; column < columns_; ++column) {
        set(row, column, isInteger ? integer(random) : real(random));
      }
    }
  }

  void fill(double value) {
    for (std::size_t row = 0; row < rows_; ++row) {
      for (std::size_t column = 0; column < columns_; ++column) set(row, column, value);
    }
  }

  /// Whether everything around and between the rows is as it was made.
  bool guardsAreWhole() const {
    const std::size_t size = bytesOf(type_);
    for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
      const std::size_t element = byte / size;
      const bool inside =
          element >= kGuard && element < kGuard + rows_ * stride_ && (element - kGuard) % stride_ < columns_;
      if (!inside && bytes_[byte] != kGuardByte) return false;
    }
    return true;
  }

  const std::vector<unsigned char>& bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kGuard = 64;
  static constexpr unsigned char kGuardByte = 0xFF;  // all ones: a NaN in each floating-point type

  std::size_t rows_;
  std::size_t columns_;
  std::size_t stride_;
  GemmType type_;
  std::vector<unsigned char> bytes_;
};

// --- One case -------------------------------------------------------------------------------------------------------

struct Case {
  std::size_t rows = 1;
  std::size_t columns = 1;
  std::size_t inner = 1;
  bool transposeLeft = false;
  bool transposeRight = false;
  std::size_t padding = 0;
  float alpha = 1.0F;
  float beta = 0.0F;
  bool bias = false;
  bool epilogue = false;
  GemmType factors = GemmType::float32;
  GemmType result = GemmType::float32;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << 'x' << c.columns << 'x' << c.inner << (c.transposeLeft ? " T" : " N")
             << (c.transposeRight ? 'T' : 'N') << " padding " << c.padding << " alpha " << c.alpha << " beta " << c.beta
             << (c.bias ? " bias" : "") << (c.epilogue ? " epilogue" : "") << " types " << static_cast<int>(c.factors)
             << static_cast<int>(c.result);
}

class Problem {
 public:
  explicit Problem(const Case& c, unsigned seed = 1)
      : case_(c),
        left_(c.transposeLeft ? c.inner : c.rows, c.transposeLeft ? c.rows : c.inner, c.padding, c.factors),
        right_(c.transposeRight ? c.columns : c.inner, c.transposeRight ? c.inner : c.columns, 2 * c.padding,
               c.factors),
        result_(c.rows, c.columns, 3 * c.padding, c.result),
        bias_(c.columns),
        old_(0, 0, 0, c.result) {
    std::mt19937 random(seed);
    left_.fill(random);
    right_.fill(random);
    if (c.beta == 0.0F) {
      result_.fill(std::numeric_limits<double>::quiet_NaN());
    } else {
      result_.fill(random);
    }
    std::uniform_real_distribution<float> real(-1.0F, 1.0F);
    for (float& value : bias_) value = real(random);
    old_ = result_;
  }

  const Matrix& left() const { return left_; }
  const Matrix& right() const { return right_; }
  Matrix& left() { return left_; }
  Matrix& result() { return result_; }

  void run(ThreadPool& pool) {
    result_ = old_;
    Gemm gemmProblem;
    gemmProblem.rows = case_.rows;
    gemmProblem.columns = case_.columns;
    gemmProblem.inner = case_.inner;
    gemmProblem.alpha = case_.alpha;
    gemmProblem.beta = case_.beta;
    gemmProblem.left = {left_.data(), left_.stride(), left_.type(), case_.transposeLeft};
    gemmProblem.right = {right_.data(), right_.stride(), right_.type(), case_.transposeRight};
    gemmProblem.result = {result_.data(), result_.stride(), result_.type()};
    if (case_.bias) gemmProblem.bias = bias_.data();
    if (case_.epilogue) gemmProblem.epilogue = {&epilogue, &case_};
    gemm(pool, gemmProblem);
  }

  /// Compares with a sum in double precision. A float32 sum of k products and a few more terms is off by at most
  /// (k + 4) u times the sum of the terms' magnitudes (u: unit roundoff); a 16-bit result adds half of its last place.
  void verify() {
    if (expected_.empty()) computeExpected();
    std::size_t failures = 0;
    for (std::size_t row = 0; row < case_.rows; ++row) {
      for (std::size_t column = 0; column < case_.columns; ++column) {
        const double expected = expected_[row * case_.columns + column];
        const double tolerance = tolerance_[row * case_.columns + column];
        const double actual = result_.at(row, column);
        if (!(std::fabs(actual - expected) <= tolerance) && ++failures <= 3) {
          ADD_FAILURE() << case_ << ": element (" << row << ", " << column << ") is " << actual << ", expected "
                        << expected << " within " << tolerance;
        }
      }
    }
    EXPECT_EQ(failures, 0U) << case_;
    EXPECT_TRUE(result_.guardsAreWhole()) << case_;
    EXPECT_TRUE(left_.guardsAreWhole() && right_.guardsAreWhole()) << case_;
  }

 private:
  void computeExpected() {
    const double resultRoundoff = case_.result == GemmType::float32   ? 0.0
                                  : case_.result == GemmType::float16 ? 0x1p-11
                                                                      : 0x1p-8;
    const double resultLeast = case_.result == GemmType::float16 ? 0x1p-25 : 0.0;
    // Both factors as rows of doubles along the inner dimension.
    std::vector<double> left(case_.rows * case_.inner);
    std::vector<double> right(case_.columns * case_.inner);
    for (std::size_t k = 0; k < case_.inner; ++k) {
      for (std::size_t row = 0; row < case_.rows; ++row) {
        left[row * case_.inner + k] = case_.transposeLeft ? left_.at(k, row) : left_.at(row, k);
      }
      for (std::size_t column = 0; column < case_.columns; ++column) {
        right[column * case_.inner + k] = case_.transposeRight ? right_.at(column, k) : right_.at(k, column);
      }
    }
    for (std::size_t row = 0; row < case_.rows; ++row) {
      for (std::size_t column = 0; column < case_.columns; ++column) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (std::size_t k = 0; k < case_.inner; ++k) {
          const double product = left[row * case_.inner + k] * right[column * case_.inner + k];
          sum += product;
          magnitude += std::fabs(product);
        }
        double expected = case_.alpha * sum;
        magnitude *= std::fabs(case_.alpha);
        if (case_.beta != 0.0F) {
          expected += case_.beta * old_.at(row, column);
          magnitude += std::fabs(case_.beta * old_.at(row, column));
        }
        if (case_.bias) {
          expected += bias_[column];
          magnitude += std::fabs(bias_[column]);
        }
        double tolerance = (static_cast<double>(case_.inner) + 4.0) * kEpsilon * magnitude;
        if (case_.epilogue) {
          expected = 2.0 * expected + static_cast<double>(row) - 3.0 * static_cast<double>(column);
          tolerance = 2.0 * tolerance + kEpsilon * (2.0 * magnitude + 4.0 * static_cast<double>(row + 3 * column));
        }
        tolerance += resultLeast + resultRoundoff * (std::fabs(expected) + tolerance);
        expected_.push_back(expected);
        tolerance_.push_back(tolerance);
      }
    }
  }

  static void epilogue(const void* context, float* values, std::size_t row, std::size_t column, std::size_t count) {
    const auto& c = *static_cast<const Case*>(context);
    ASSERT_LT(row, c.rows);
    ASSERT_LE(column + count, c.columns);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = 2.0F * values[i] + static_cast<float>(row) - 3.0F * static_cast<float>(column + i);
    }
  }

  Case case_;
  Matrix left_;
  Matrix right_;
  Matrix result_;
  std::vector<float> bias_;
  Matrix old_;
  std::vector<double> expected_;
  std::vector<double> tolerance_;
};

/// Runs `body` once for each instruction set that this machine has and the library was built for.
template <class Body>
void forEachTarget(const Body& body) {
  const std::int64_t supported = hwy::SupportedTargets();
  for (std::int64_t targets = supported; targets != 0; targets &= targets - 1) {
    const std::int64_t target = targets & -targets;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(std::string("on ") + hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void verifyOnEveryTarget(ThreadPool& pool, const Case& c) {
  Problem problem(c);
  forEachTarget([&] {
    problem.run(pool);
    problem.verify();
  });
}

std::vector<std::size_t> sizes(std::initializer_list<std::size_t> list) { return list; }

std::vector<Case> randomCases(std::size_t count, unsigned seed) {
  constexpr std::size_t kSizes[] = {0, 1, 2, 3, 7, 13, 16, 31, 33, 64, 65, 97, 128, 257};
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return random() % n; };
  std::vector<Case> cases(count);
  for (Case& c : cases) {
    c.rows = kSizes[below(std::size(kSizes))];
    c.columns = kSizes[below(std::size(kSizes))];
    c.inner = kSizes[below(std::size(kSizes))];
    c.transposeLeft = below(2) == 1;
    c.transposeRight = below(2) == 1;
    c.padding = below(2) * (1 + below(20));
    c.alpha = std::vector{1.0F, 1.0F, -0.75F, 0.0F}[below(4)];
    c.beta = std::vector{0.0F, 0.0F, 1.0F, -1.5F}[below(4)];
    c.bias = below(2) == 1;
    c.epilogue = below(3) == 0;
  }
  return cases;
}

// --- Tests ----------------------------------------------------------------------------------------------------------

TEST(Gemm, AgreesWithDoublePrecisionOnEveryInstructionSet) {
  ThreadPool pool(3);
  const std::vector<Case> cases = randomCases(250, 42);
  for (const Case& c : cases) verifyOnEveryTarget(pool, c);
}

TEST(Gemm, EveryElementType) {
  ThreadPool pool(3);
  std::vector<Case> cases = randomCases(160, 7);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    cases[i].factors = static_cast<GemmType>(i % 5);
    const bool same = cases[i].factors == GemmType::float16 || cases[i].factors == GemmType::bfloat16;
    cases[i].result = same && i % 2 == 0 ? cases[i].factors : GemmType::float32;
  }
  for (const Case& c : cases) verifyOnEveryTarget(pool, c);
}

TEST(Gemm, LongAndSlicedSums) {
  ThreadPool pool(4);
  for (const bool transposeLeft : {false, true}) {
    for (const bool transposeRight : {false, true}) {
      for (const Case& shape : {Case{10, 40, 6007}, Case{1, 77, 3001}, Case{77, 1, 3001}, Case{1, 1, 20'001},
                                Case{70, 600, 525}, Case{140, 250, 1100}}) {
        Case c = shape;
        c.transposeLeft = transposeLeft;
        c.transposeRight = transposeRight;
        c.alpha = 0.5F;
        c.beta = -1.0F;
        c.bias = c.epilogue = true;
        c.padding = 1;
        verifyOnEveryTarget(pool, c);
        c.factors = c.result = GemmType::float16;
        verifyOnEveryTarget(pool, c);
      }
    }
  }
}

/// So large that upcoming parts of the right factor are fetched while others are computed, and that several blocks of
/// rows, columns and inner indices meet.
TEST(Gemm, FactorsBeyondTheCaches) {
  ThreadPool pool(2);
  for (const bool transposeRight : {false, true}) {
    Case c{25, 1100, 1030};
    c.transposeRight = transposeRight;
    verifyOnEveryTarget(pool, c);
  }
  Case tall{1100, 90, 30};
  tall.transposeLeft = true;
  verifyOnEveryTarget(pool, tall);
}

/// Under AddressSanitizer, whatever is read behind the last element is found.
TEST(Gemm, ReadsNothingBeyondTheFactors) {
  ThreadPool pool(2);
  forEachTarget([&] {
    for (const std::size_t rows : sizes({1, 3, 8, 13})) {
      for (const std::size_t columns : sizes({1, 10, 17, 48, 50})) {
        for (const std::size_t inner : sizes({1, 5, 30})) {
          for (const int transposes : {0, 1, 2, 3}) {
            const std::vector<float> left(rows * inner, 1.0F);
            const std::vector<float> right(columns * inner, 1.0F);
            const std::vector<float> bias(columns, 1.0F);
            std::vector<float> result(rows * columns);
            Gemm problem{.rows = rows, .columns = columns, .inner = inner};
            problem.left = {left.data(), transposes % 2 == 1 ? rows : inner, GemmType::float32, transposes % 2 == 1};
            problem.right = {right.data(), transposes / 2 == 1 ? inner : columns, GemmType::float32,
                             transposes / 2 == 1};
            problem.result = {result.data(), columns};
            problem.bias = bias.data();
            gemm(pool, problem);
            EXPECT_EQ(result, std::vector<float>(rows * columns, static_cast<float>(inner + 1)));
          }
        }
      }
    }
  });
}

TEST(Gemm, BitsDoNotDependOnThreads) {
  ThreadPool one(1);
  ThreadPool two(2);
  ThreadPool three(3);
  ThreadPool four(4);
  std::vector<Case> cases = randomCases(40, 11);
  for (const bool transposeLeft : {false, true}) {
    for (const bool transposeRight : {false, true}) {
      for (const Case& shape : {Case{128, 784, 512}, Case{128, 10, 512}, Case{512, 10, 128}, Case{10, 512, 6000},
                                Case{257, 513, 1030}, Case{1, 1000, 2000}, Case{1000, 1, 2000}, Case{5, 700, 900}}) {
        Case c = shape;
        c.transposeLeft = transposeLeft;
        c.transposeRight = transposeRight;
        cases.push_back(c);
        c.factors = c.result = GemmType::bfloat16;
        cases.push_back(c);
      }
    }
  }
  for (const Case& c : cases) {
    Problem problem(c);
    problem.run(one);
    const std::vector<unsigned char> bytes = problem.result().bytes();
    for (ThreadPool* pool : {&one, &two, &three, &four}) {
      problem.run(*pool);
      EXPECT_EQ(problem.result().bytes(), bytes) << c << " with " << pool->threads() << " threads";
    }
  }
}

TEST(Gemm, OldResultIsNotReadWithoutBeta) {
  ThreadPool pool(2);
  for (const GemmType type : {GemmType::float32, GemmType::float16, GemmType::bfloat16}) {
    for (const std::size_t inner : sizes({0, 1, 9, 1500})) {
      Case c{20, 50, inner};
      c.factors = c.result = type;
      Problem problem(c);  // the old result is NaN throughout
      problem.run(pool);
      problem.verify();
    }
  }
}

TEST(Gemm, SpecialValuesOfFactorsSpreadAsInTheFormula) {
  ThreadPool pool(2);
  forEachTarget([&] {
    for (const GemmType type : {GemmType::float32, GemmType::float16, GemmType::bfloat16}) {
      Case c{9, 20, 35};
      c.factors = c.result = type;
      Problem problem(c);
      problem.left().set(3, 34, std::numeric_limits<double>::quiet_NaN());
      problem.left().set(5, 0, -std::numeric_limits<double>::infinity());
      problem.run(pool);
      for (std::size_t row = 0; row < c.rows; ++row) {
        for (std::size_t column = 0; column < c.columns; ++column) {
          const double value = problem.result().at(row, column);
          EXPECT_EQ(std::isnan(value), row == 3);
          EXPECT_EQ(std::isinf(value), row == 5);
          if (row == 5) {
            EXPECT_EQ(value > 0, problem.right().at(0, column) < 0);
          }
        }
      }
    }
  });
}

/// A product with a 1 x 1 identity is a conversion; over all 2^16 patterns and the midpoints between them.
TEST(Gemm, SixteenBitNumbersConvertExactlyAndRoundToNearestEven) {
  ThreadPool pool(1);
  forEachTarget([&] {
    for (const GemmType type : {GemmType::float16, GemmType::bfloat16}) {
      const auto decode = type == GemmType::float16 ? decodeHalf : decodeBrainFloat;
      const auto encode = type == GemmType::float16 ? encodeHalf : encodeBrainFloat;
      constexpr std::size_t kCount = 65'536;
      std::vector<std::uint16_t> all(kCount);
      for (std::size_t i = 0; i < kCount; ++i) all[i] = static_cast<std::uint16_t>(i);
      const std::uint16_t unit = encode(1.0);
      std::vector<float> decoded(kCount);
      gemm(pool, {.rows = 1,
                  .columns = kCount,
                  .inner = 1,
                  .left = {&unit, 1, type},
                  .right = {all.data(), kCount, type},
                  .result = {decoded.data(), kCount}});
      std::vector<float> values;
      for (std::size_t i = 0; i < kCount; ++i) {
        const auto exact = static_cast<float>(decode(all[i]));
        ASSERT_TRUE(decoded[i] == exact || (std::isnan(exact) && std::isnan(decoded[i]))) << i << ": " << decoded[i];
        // The number itself, the middle to the next one, and the floats beside the middle.
        const auto bits = std::bit_cast<std::uint32_t>(exact);
        const std::uint32_t half = type == GemmType::float16 ? 0x1000U : 0x8000U;
        for (const std::uint32_t offset : {0U, half - 1, half, half + 1})
          values.push_back(std::bit_cast<float>(bits + offset));
      }
      for (const float extra : {65519.0F, 65520.0F, 65536.0F, 1e30F, 3.4e38F, 0x1p-24F, 0x1p-25F, 0x1.8p-25F, 0x1p-26F,
                                -0x1.8p-24F, 0x1.FFEp-15F, 0x1.FFFp-15F, 0x1p-14F}) {
        values.push_back(extra);
      }
      // The conversion of results: 0 * x, plus the value as a bias.
      std::vector<std::uint16_t> rounded(values.size());
      gemm(pool, {.rows = 1,
                  .columns = values.size(),
                  .inner = 0,
                  .left = {nullptr, 0, type},
                  .right = {nullptr, 0, type},
                  .result = {rounded.data(), values.size(), type},
                  .bias = values.data()});
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) {
          ASSERT_TRUE(std::isnan(decode(rounded[i]))) << i;
        } else if (values[i] == 0.0F) {
          ASSERT_EQ(rounded[i] & 0x7FFF, 0);  // 0 + -0 is 0
        } else {
          ASSERT_EQ(rounded[i], encode(values[i])) << values[i];
        }
      }
    }
  });
}

TEST(Gemm, RefusesTypesThatDoNotGoTogether) {
  ThreadPool pool(1);
  float values[4] = {};
  Gemm problem{.rows = 1, .columns = 1, .inner = 1, .left = {values, 1}, .right = {values, 1}, .result = {values, 1}};
  problem.right.type = GemmType::float16;
  EXPECT_THROW(gemm(pool, problem), Error);
  problem.right.type = GemmType::float32;
  problem.result.type = GemmType::int8;
  EXPECT_THROW(gemm(pool, problem), Error);
}

TEST(Gemm, ThrowsWhatTheEpilogueThrows) {
  ThreadPool pool(3);
  std::vector<float> values(100 * 100, 1.0F);
  std::vector<float> result(100 * 100);
  Gemm problem{.rows = 100,
               .columns = 100,
               .inner = 100,
               .left = {values.data(), 100},
               .right = {values.data(), 100},
               .result = {result.data(), 100}};
  problem.epilogue.call = [](const void*, float*, std::size_t, std::size_t, std::size_t) {
    throw Error(ErrorCode::device, "The neuron is tired.");
  };
  EXPECT_THROW(gemm(pool, problem), Error);
  problem.epilogue.call = nullptr;
  gemm(pool, problem);
  EXPECT_EQ(result.back(), 100.0F);
}

TEST(Gemm, ScratchIsBounded) { EXPECT_LE(gemmScratchBytesPerThread(), std::size_t{4} << 20); }

}  // namespace
}  // namespace metalloid::cpu
