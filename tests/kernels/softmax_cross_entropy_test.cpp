#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_softmax_cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

class CrossEntropyValues : public OnDevice {};
class CrossEntropyChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, CrossEntropyValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, CrossEntropyChecks, testing::Values("reference", "cpu", "null"), deviceName);

struct Expected {
  double loss = 0;
  double correct = 0;
  std::vector<double> gradient;
};

/// The formulas as the header prints them, for finite logits of moderate size.
Expected naive(const std::vector<double>& x, std::size_t label, double weight, double smoothing) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  Expected expected;
  for (std::size_t j = 0; j < x.size(); ++j) {
    const double t = (1 - smoothing) * (j == label ? 1 : 0) + smoothing / static_cast<double>(x.size());
    const double p = std::exp(x[j]) / sum;
    expected.loss -= weight * t * std::log(p);
    expected.gradient.push_back(weight * (p - t));
  }
  const auto best = std::max_element(x.begin(), x.end());  // the first of equals
  expected.correct = best - x.begin() == static_cast<std::ptrdiff_t>(label) ? 1 : 0;
  return expected;
}

struct Case {
  Origin from = {};
  Origin to = {};
  std::size_t start = 0;
  std::size_t size = all;
  bool sharedLabels = false;
  float weight = 1;
  float smoothing = 0;
};

void check(const Device& device, const Layout& layout, DataType vectorType, const Case& c) {
  const std::size_t rows = 6, columns = 9, limit = 4;
  const Matrix x = randomMatrix(device, rows, columns, layout, 5);
  const Matrix dx = randomMatrix(device, 8, 10, {.type = layout.type, .count = layout.count, .padding = 2}, 6);
  const Layout vectors{.type = vectorType, .count = layout.count, .padding = 2, .offset = 1};
  const Vector loss = randomVector(device, 7, vectors, 7), correct = randomVector(device, 7, vectors, 8);
  const std::size_t n = std::min(limit, rows - c.from.x), classes = columns - c.from.y;
  std::vector<std::uint32_t> labels;
  for (std::size_t i = 0; i < (c.sharedLabels ? 1 : layout.count) * 7; ++i) {
    labels.push_back(static_cast<std::uint32_t>((i * 5 + 2) % std::max<std::size_t>(classes, 1)));
  }
  const Vector labelVector = labelsOf(device, labels, c.sharedLabels ? 1 : layout.count);

  MatrixSoftMaxCrossEntropy kernel(device);
  kernel.sourceMatrixOrigin = c.from;
  kernel.resultMatrixOrigin = c.to;
  kernel.sourceRows = limit;
  kernel.batchStart = c.start;
  kernel.batchSize = c.size;
  kernel.weight = c.weight;
  kernel.labelSmoothing = c.smoothing;
  const Guard guardLoss(loss), guardCorrect(correct), guardGradient(dx);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrix = x,
                             .labelVector = labelVector,
                             .resultLossVector = loss,
                             .resultCorrectVector = correct,
                             .resultGradientMatrix = dx});
  });

  const std::size_t count = std::min(c.size, layout.count - c.start);
  guardGradient.expectUntouchedOutside(c.to, n, classes, c.start, count);
  guardLoss.expectUntouchedOutside({}, 1, n, c.start, count);
  guardCorrect.expectUntouchedOutside({}, 1, n, c.start, count);
  const Elements logits(x), losses(loss), hits(correct), gradient(dx);
  for (std::size_t k = c.start; k < c.start + count; ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> row;
      for (std::size_t j = 0; j < classes; ++j) row.push_back(logits(k, c.from.x + i, c.from.y + j));
      const std::size_t label = labels[(c.sharedLabels ? 0 : k) * 7 + i];
      const Expected expected = naive(row, label, double{c.weight}, double{c.smoothing});
      // 9 exponentials and as many sums, with |x - maximum| up to 4 and the logarithm up to ln 9.
      const double scale = 8 * std::fabs(double{c.weight});
      expectNear(device, losses(k, i), expected.loss, vectorType, 24, scale, kernel.description());
      EXPECT_EQ(hits(k, i), expected.correct);
      for (std::size_t j = 0; j < classes; ++j) {
        expectNear(device, gradient(k, c.to.x + i, c.to.y + j), expected.gradient[j], layout.type, 24, scale,
                   kernel.description());
      }
    }
  }
}

TEST_P(CrossEntropyValues, matchTheFormulasInEveryLayout) {
  for (const DataType type : floatTypes()) {
    for (const DataType vectorType : {type, DataType::float32}) {
      for (const Layout& layout : layouts(type, 3)) {
        check(device, layout, vectorType, {});
        check(device, layout, vectorType, {.from = {1, 2}, .to = {3, 1}, .weight = 0.25f, .smoothing = 0.1f});
        check(device, layout, vectorType, {.from = {4, 8}, .sharedLabels = true, .weight = -2, .smoothing = 1});
        check(device, layout, vectorType, {.start = 1, .size = 1, .smoothing = 0.5f});
        check(device, layout, vectorType, {.start = 1, .size = 0});
        check(device, layout, vectorType, {.from = {6, 0}});  // no rows, and so no labels
      }
    }
  }
}

/// One row through the kernel: loss, correct, gradient.
Expected run(const Device& device, const std::vector<float>& logits, std::uint32_t label, float smoothing = 0,
             float weight = 1) {
  const Matrix x = matrixOf(device, 1, logits.size(), logits), dx = makeMatrix(device, 1, logits.size());
  const Vector loss = makeVector(device, 1), correct = makeVector(device, 1);
  MatrixSoftMaxCrossEntropy kernel(device);
  kernel.labelSmoothing = smoothing;
  kernel.weight = weight;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrix = x,
                             .labelVector = labelsOf(device, {label}),
                             .resultLossVector = loss,
                             .resultCorrectVector = correct,
                             .resultGradientMatrix = dx});
  });
  return {loss.read<double>()[0], correct.read<double>()[0], dx.read<double>()};
}

TEST_P(CrossEntropyValues, giveTheSpecificationsExamples) {
  const double digits = 1e-6;  // as many as are printed
  const Expected plain = run(device, {1, 2, 0}, 1);
  EXPECT_NEAR(plain.loss, 0.407606, digits);
  EXPECT_EQ(plain.correct, 1);
  EXPECT_NEAR(plain.gradient[0], 0.244728, digits);
  EXPECT_NEAR(plain.gradient[1], -0.334759, digits);
  EXPECT_NEAR(plain.gradient[2], 0.090031, digits);
  const Expected smooth = run(device, {1, 2, 0}, 1, 0.1f);
  EXPECT_NEAR(smooth.loss, 0.507606, digits);
  EXPECT_NEAR(smooth.gradient[0], 0.211395, digits);
  EXPECT_NEAR(smooth.gradient[1], -0.268092, digits);
  EXPECT_NEAR(smooth.gradient[2], 0.056697, digits);
}

TEST_P(CrossEntropyValues, areExactWhereTheLogitsAreExtreme) {
  const Expected sure = run(device, {-1000, 1000, -1000}, 1);
  EXPECT_EQ(sure.loss, 0);
  EXPECT_EQ(sure.gradient, (std::vector<double>{0, 0, 0}));
  const Expected wrong = run(device, {-1000, 1000, -1000}, 0, 0, 0.5f);
  EXPECT_EQ(wrong.loss, 1000);  // half of 2000
  EXPECT_EQ(wrong.correct, 0);
  EXPECT_EQ(wrong.gradient, (std::vector<double>{-0.5, 0.5, 0}));
  const Expected impossible = run(device, {-kInfinity, 3, 3}, 1);  // 0 * infinity of the class that t leaves out is 0
  EXPECT_NEAR(impossible.loss, std::log(2.0), 1e-7);
  EXPECT_EQ(impossible.gradient, (std::vector<double>{0, -0.5, 0.5}));
  EXPECT_EQ(run(device, {-kInfinity, 3}, 0).loss, std::numeric_limits<double>::infinity());
  EXPECT_EQ(run(device, {-kInfinity, 3}, 1, 0.5f).loss, std::numeric_limits<double>::infinity());
  EXPECT_EQ(run(device, {-kInfinity, 3}, 0, 1).loss, std::numeric_limits<double>::infinity());
  const Expected nothing = run(device, {-kInfinity, -kInfinity}, 0);
  EXPECT_TRUE(std::isnan(nothing.loss));
  EXPECT_TRUE(std::isnan(nothing.gradient[0]) && std::isnan(nothing.gradient[1]));
  EXPECT_TRUE(std::isnan(run(device, {1, kNaN}, 0).loss));
  const Expected alone = run(device, {7}, 0, 0.25f);  // one class
  EXPECT_EQ(alone.loss, 0);
  EXPECT_EQ(alone.gradient, (std::vector<double>{0}));
}

TEST_P(CrossEntropyValues, takeTheFirstOfEqualLogitsAndNoNaNForTheLargest) {
  EXPECT_EQ(run(device, {1, 5, 5, 2}, 1).correct, 1);
  EXPECT_EQ(run(device, {1, 5, 5, 2}, 2).correct, 0);
  EXPECT_EQ(run(device, {kNaN, -5, -4}, 2).correct, 1);
  EXPECT_EQ(run(device, {-5, kNaN, -6}, 0).correct, 1);
  EXPECT_EQ(run(device, {kNaN, -kInfinity}, 1).correct, 1);
  EXPECT_EQ(run(device, {kNaN, kNaN}, 0).correct, 1);
  EXPECT_EQ(run(device, {kNaN, kNaN}, 1).correct, 0);
  EXPECT_EQ(run(device, {-kInfinity, -kInfinity}, 0).correct, 1);
  std::vector<float> wide(70, -1);  // several vectors of every instruction set, NaN in the lane of the largest
  wide[3] = 5;
  for (std::size_t j = 19; j < 70; j += 16) wide[j] = kNaN;
  EXPECT_EQ(run(device, wide, 3).correct, 1);
  EXPECT_EQ(run(device, wide, 4).correct, 0);
}

TEST_P(CrossEntropyValues, givePartsWithTheBitsOfTheWhole) {
  const Layout layout{.count = 2, .padding = 1};
  const Matrix x = randomMatrix(device, 5, 33, layout, 3), dx = makeMatrix(device, 5, 33, layout);
  const Vector labels = labelsOf(device, {0, 8, 16, 24, 32});
  const auto make = [&] { return makeVector(device, 5, {.count = 2}); };
  const Vector loss = make(), correct = make(), lossAlone = make(), correctAlone = make();
  execute(device, [&](CommandBuffer& commands) {
    const MatrixSoftMaxCrossEntropy kernel(device);
    kernel.encode(commands, {.sourceMatrix = x,
                             .labelVector = labels,
                             .resultLossVector = loss,
                             .resultCorrectVector = correct,
                             .resultGradientMatrix = dx});
    kernel.encode(commands, {.sourceMatrix = x, .labelVector = labels, .resultLossVector = lossAlone});
    kernel.encode(commands, {.sourceMatrix = x, .labelVector = labels, .resultCorrectVector = correctAlone});
    kernel.encode(commands, {.sourceMatrix = x, .labelVector = labels, .resultGradientMatrix = x});  // in place
  });
  EXPECT_EQ(lossAlone.read<float>(), loss.read<float>());
  EXPECT_EQ(correctAlone.read<float>(), correct.read<float>());
  EXPECT_EQ(x.read<float>(), dx.read<float>());
}

TEST_P(CrossEntropyValues, gradientIsTheDerivativeOfTheLoss) {
  const std::vector<double> x{0.5, -1.25, 0.75, 2, -0.5, 0.125};
  const Expected at = run(device, {x.begin(), x.end()}, 2, 0.2f, 0.5f);
  const double h = 1e-5;
  for (std::size_t j = 0; j < x.size(); ++j) {
    auto above = x, below = x;
    above[j] += h;
    below[j] -= h;
    const double smoothing = double{0.2f};
    const double slope = (naive(above, 2, 0.5, smoothing).loss - naive(below, 2, 0.5, smoothing).loss) / (2 * h);
    // h^2 of the difference quotient, 1e-16 / h of its cancellation, and dx rounded to float32.
    EXPECT_NEAR(at.gradient[j], slope, 1e-6) << j;
  }
}

TEST_P(CrossEntropyValues, refuseALabelOutOfRangeBeforeAnythingIsWritten) {
  const Layout layout{.count = 2};
  const Matrix x = randomMatrix(device, 3, 4, layout, 1), dx = randomMatrix(device, 3, 4, layout, 2);
  const Vector loss = randomVector(device, 3, layout, 3), correct = randomVector(device, 3, layout, 4);
  MatrixSoftMaxCrossEntropy kernel(device);
  kernel.label = "loss";
  const auto failure = [&](const std::vector<std::uint32_t>& labels, std::size_t vectors) {
    const Error error = executeToFailure(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceMatrix = x,
                               .labelVector = labelsOf(device, labels, vectors),
                               .resultLossVector = loss,
                               .resultCorrectVector = correct,
                               .resultGradientMatrix = dx});
    });
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    return std::string(error.what());
  };
  // Reading an operand whose last work failed throws that work's error; the bytes themselves can be seen.
  const auto bytesOf = [](const auto& operand) {
    const auto bytes = operand.data().contents();
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  const auto dxBefore = bytesOf(dx), lossBefore = bytesOf(loss), correctBefore = bytesOf(correct);
  const std::string text = failure({3, 0, 4}, 1);
  EXPECT_NE(text.find("The label of row 2 of matrix 0 of the batch is 4, but there are 4 classes."), std::string::npos)
      << text;
  EXPECT_NE(text.find("While executing MatrixSoftMaxCrossEntropy \"loss\" on device " + device.name()),
            std::string::npos)
      << text;
  EXPECT_EQ(bytesOf(dx), dxBefore);
  EXPECT_EQ(bytesOf(loss), lossBefore);
  EXPECT_EQ(bytesOf(correct), correctBefore);
}

TEST_P(CrossEntropyValues, nameALabelOutOfRangeInALaterMatrix) {
  const Matrix x = makeMatrix(device, 2, 3, {.count = 2}), one = makeMatrix(device, 2, 3);
  const auto message = [&](const Matrix& source, const Vector& labels) {
    return std::string(executeToFailure(device, [&](CommandBuffer& commands) {
                         MatrixSoftMaxCrossEntropy(device).encode(
                             commands, {.sourceMatrix = source,
                                        .labelVector = labels,
                                        .resultGradientMatrix = makeMatrix(device, 2, 3, {.count = 2})});
                       }).message());
  };
  EXPECT_EQ(message(x, labelsOf(device, {0, 1, 2, 0xffffffffu}, 2)),
            "The label of row 1 of matrix 1 of the batch is 4294967295, but there are 3 classes.");
  EXPECT_EQ(message(one, labelsOf(device, {7, 9})), "The label of row 0 is 7, but there are 3 classes.");
  EXPECT_EQ(message(makeMatrix(device, 1, 0), labelsOf(device, {0})),
            "The label of row 0 is 0, but there are 0 classes.");
}

TEST_P(CrossEntropyChecks, behavesAsAKernel) {
  MatrixSoftMaxCrossEntropy kernel(device);
  EXPECT_EQ(kernel.weight, 1);
  EXPECT_EQ(kernel.labelSmoothing, 0);
  EXPECT_EQ(kernel.sourceRows, all);
  EXPECT_EQ(kernel.sourceColumns, all);
  kernel.label = "loss";
  kernel.sourceRows = 1;
  kernel.sourceColumns = 2;
  kernel.weight = 0.5f;
  kernel.labelSmoothing = 0.25f;
  kernel.sourceMatrixOrigin.y = 2;
  kernel.batchSize = 4;
  std::vector changed(7, kernel);
  changed[0].label.clear();
  changed[1].sourceRows = 2;
  changed[2].sourceColumns = 3;
  changed[3].weight = 0.75f;
  changed[4].labelSmoothing = 0;
  changed[5].sourceMatrixOrigin.y = 1;
  changed[6].batchSize = 3;
  expectBehavesAsKernel(kernel, changed, device, "MatrixSoftMaxCrossEntropy");
  expectRefused([] { MatrixSoftMaxCrossEntropy{Device{}}; }, {"The device of a MatrixSoftMaxCrossEntropy is nil."});
}

TEST_P(CrossEntropyChecks, refusesWhatDoesNotFit) {
  using Arguments = MatrixSoftMaxCrossEntropy::Arguments;
  const Arguments good{.sourceMatrix = makeMatrix(device, 4, 5),
                       .labelVector = labelsOf(device, {0, 1, 2, 3}),
                       .resultLossVector = makeVector(device, 4),
                       .resultCorrectVector = makeVector(device, 4),
                       .resultGradientMatrix = makeMatrix(device, 4, 5)};
  MatrixSoftMaxCrossEntropy kernel(device);
  kernel.label = "loss";
  const auto encode = [&](auto change) {
    Arguments arguments = good;
    change(arguments);
    return [&kernel, arguments](CommandBuffer& commands) { kernel.encode(commands, arguments); };
  };
  const auto unchanged = encode([](Arguments&) {});
  const Layout half{.type = DataType::float16};
  const std::string_view context = "While encoding MatrixSoftMaxCrossEntropy \"loss\"";
  execute(device, unchanged);
  expectRefusesCommandBuffers(device, unchanged);
  expectEncodeRefused(device, encode([](Arguments& a) { a.sourceMatrix = {}; }), {"The sourceMatrix is nil.", context});
  expectEncodeRefused(device, encode([](Arguments& a) { a.labelVector = {}; }), {"The labelVector is nil.", context});
  expectEncodeRefused(
      device, encode([](Arguments& a) {
        a.resultLossVector = a.resultCorrectVector = {};
        a.resultGradientMatrix = {};
      }),
      {"resultLossVector", "resultCorrectVector", "resultGradientMatrix", "nothing to compute", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.labelVector = makeVector(other, 4); }),
                      {"Vector (labelVector) is on device " + other.name(), context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultLossVector = makeVector(other, 4); }),
                      {"Vector (resultLossVector) is on device " + other.name(), context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.labelVector = makeVector(device, 4); }),
                      {"(labelVector) is of type float32", "uInt32", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultLossVector = makeVector(device, 4, half); }),
                      {"(resultLossVector) is of type float16", "takes float32", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultCorrectVector = a.labelVector; }),
                      {"(resultCorrectVector) is of type uInt32", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultGradientMatrix = makeMatrix(device, 4, 5, half); }),
                      {"(resultGradientMatrix) is of type float16", "is of type float32", context});
  expectEncodeRefused(device, encode([&](Arguments& a) {
                        a.labelVector = labelsOf(device, {1, 2, 3});
                      }),
                      {"(labelVector) has 3 elements", "needs 4", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultLossVector = makeVector(device, 3); }),
                      {"(resultLossVector) has 3 elements", "needs 4", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultCorrectVector = makeVector(device, 2); }),
                      {"(resultCorrectVector) has 2 elements", "needs 4", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultGradientMatrix = makeMatrix(device, 4, 4); }),
                      {"(resultGradientMatrix) has 4 rows and 4 columns", "needs 4 rows and 5 columns", context});
  expectEncodeRefused(device, encode([&](Arguments& a) { a.resultCorrectVector = a.resultLossVector; }),
                      {"(resultLossVector)", "(resultCorrectVector)", "overlap in memory", context});
  expectEncodeRefused(device, encode([&](Arguments& a) {
                        a.sourceMatrix = makeMatrix(device, 4, 5, {.count = 2});
                        a.resultGradientMatrix = makeMatrix(device, 4, 5, {.count = 2});
                      }),
                      {"(resultLossVector) holds 1 vectors", "matrices 0 to 1", context});
  expectEncodeRefused(device, encode([&](Arguments& a) {
                        a.sourceMatrix = makeMatrix(device, 4, 5, {.count = 3});
                        a.labelVector = labelsOf(device, {0, 1, 2, 3, 0, 1, 2, 3}, 2);
                        a.resultLossVector = a.resultCorrectVector = {};
                        a.resultGradientMatrix = makeMatrix(device, 4, 5, {.count = 3});
                      }),
                      {"(labelVector) holds 2 vectors", "matrices 0 to 2", context});
  for (const float smoothing : {-0.1f, 1.5f, kNaN}) {
    kernel.labelSmoothing = smoothing;
    expectEncodeRefused(device, unchanged, {"The labelSmoothing of MatrixSoftMaxCrossEntropy \"loss\" is", "0 and 1"});
  }
  kernel.labelSmoothing = 0;
  kernel.resultMatrixOrigin = {0, 1, 0};
  expectEncodeRefused(device, unchanged, {"(resultGradientMatrix) has 4 rows and 4 columns from its origin (0, 1)"});
}

TEST_P(CrossEntropyChecks, refusesPartialOverlap) {
  const Matrix x = makeMatrix(device, 6, 8);
  MatrixSoftMaxCrossEntropy kernel(device);
  kernel.sourceRows = 3;
  kernel.resultMatrixOrigin = {2, 0, 0};
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        kernel.encode(
                            commands,
                            {.sourceMatrix = x, .labelVector = labelsOf(device, {0, 0, 0}), .resultGradientMatrix = x});
                      },
                      {"(sourceMatrix)", "(resultGradientMatrix)", "overlap in memory"});
}

}  // namespace
}  // namespace metalloid::test
