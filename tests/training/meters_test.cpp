#include "training/meters.hpp"

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

using namespace std::chrono_literals;

TEST(MeanMeter, weighs) {
  MeanMeter meter;
  EXPECT_EQ(meter.mean(), 0);
  meter.add(2.0, 3);
  meter.add(4.0);
  EXPECT_EQ(meter.mean(), 2.5);
}

TEST(MeanMeter, goesOnFromItsTwoNumbers) {
  MeanMeter whole, first;
  for (double value : {0.1, 0.2, 0.3}) whole.add(value, 7);
  first.add(0.1, 7);
  MeanMeter second{first.sum, first.count};
  second.add(0.2, 7);
  second.add(0.3, 7);
  EXPECT_EQ(second.mean(), whole.mean());  // the same sums in the same order: the same bits
}

TEST(AccuracyMeter, divides) {
  AccuracyMeter meter;
  EXPECT_EQ(meter.accuracy(), 0);
  meter.add(3, 4);
  meter.add(0, 4);
  EXPECT_EQ(meter.accuracy(), 0.375);
}

TEST(RateMeter, measuresTheLastSeconds) {
  RateMeter meter(5s);
  const RateMeter::Time start{};
  EXPECT_EQ(meter.perSecond(), 0);
  EXPECT_LT(meter.secondsUntil(100), 0);
  meter.update(0, start);
  EXPECT_EQ(meter.perSecond(), 0);
  meter.update(100, start + 1s);
  EXPECT_DOUBLE_EQ(meter.perSecond(), 100);
  EXPECT_DOUBLE_EQ(meter.secondsUntil(300), 2);
  EXPECT_EQ(meter.secondsUntil(50), 0);
  // A change of speed has displaced the old one after the window.
  for (int i = 1; i <= 20; ++i) meter.update(100 + 10u * static_cast<unsigned>(i), start + 1s + i * 1s);
  EXPECT_DOUBLE_EQ(meter.perSecond(), 10);
}

TEST(RateMeter, toleratesFrequentUpdates) {
  RateMeter meter(5s);
  const RateMeter::Time start{};
  for (int i = 0; i <= 100000; ++i) meter.update(static_cast<std::uint64_t>(i), start + i * 100us);
  EXPECT_NEAR(meter.perSecond(), 10000, 1e-6);  // 14 digits of a quotient of exact numbers near 5 s
}

TEST(RateMeter, toleratesAClockThatStands) {
  RateMeter meter(5s);
  meter.update(0, {});
  meter.update(10, {});
  EXPECT_EQ(meter.perSecond(), 0);
  EXPECT_LT(meter.secondsUntil(100), 0);
}

}  // namespace
}  // namespace metalloid::training
