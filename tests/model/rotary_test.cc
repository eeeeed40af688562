#include "model/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tamis {
namespace {

TEST(RotaryTest, AnglesOfPlainFrequencies) {
  const Rotary rotary({.theta = 100000.0}, 64);
  float cosine[32], sine[32];
  rotary.Angles(511, cosine, sine);
  for (int i = 0; i < 32; ++i) {
    const double angle = 511.0 * std::pow(100000.0, -2.0 * i / 64.0);
    EXPECT_NEAR(cosine[i], std::cos(angle), 1e-4);
    EXPECT_NEAR(sine[i], std::sin(angle), 1e-4);
  }
  rotary.Angles(0, cosine, sine);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(cosine[i], 1.0f);
    EXPECT_EQ(sine[i], 0.0f);
  }
}

TEST(RotaryTest, Llama3SlowsLongWavesOnly) {
  const RopeConfig plain = {.theta = 500000.0};
  RopeConfig scaled = plain;
  scaled.factor = 8.0;
  scaled.low_frequency_factor = 1.0;
  scaled.high_frequency_factor = 4.0;
  scaled.original_max_positions = 8192;
  const std::vector<float> before = Rotary(plain, 128).frequencies();
  const std::vector<float> after = Rotary(scaled, 128).frequencies();
  int kept = 0, slowed = 0, mixed = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double wavelength = 2.0 * 3.14159265358979 / before[i];
    if (wavelength < 8192.0 / 4.0) {
      EXPECT_EQ(after[i], before[i]);
      ++kept;
    } else if (wavelength > 8192.0) {
      EXPECT_FLOAT_EQ(after[i], before[i] / 8.0f);
      ++slowed;
    } else {
      EXPECT_GT(after[i], before[i] / 8.0f);
      EXPECT_LT(after[i], before[i]);
      ++mixed;
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(slowed, 0);
  EXPECT_GT(mixed, 0);
}

TEST(RotaryTest, StoredFactorsReplaceTheFormula) {
  RopeConfig rope = {.theta = 10000.0, .factor = 8.0, .original_max_positions = 64};
  rope.frequency_factors = {1.0f, 2.0f, 4.0f, 8.0f};
  const std::vector<float> plain = Rotary({.theta = 10000.0}, 8).frequencies();
  const std::vector<float> divided = Rotary(rope, 8).frequencies();
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(divided[i], plain[i] / rope.frequency_factors[i]);
}

}  // namespace
}  // namespace tamis
