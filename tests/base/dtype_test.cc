#include "tamis/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tamis/error.h"

namespace tamis {
namespace {

// Every finite half goes to float and back unchanged.
TEST(Float16, RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Float16 half{static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(ToFloat(ToFloat16(value))));
      continue;
    }
    EXPECT_EQ(ToFloat16(value).bits, half.bits) << bits;
  }
}

TEST(Float16, MidpointsRoundToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = ToFloat(Float16{static_cast<uint16_t>(bits)});
    const float high = ToFloat(Float16{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;  // exact: both fit 11 bits
    EXPECT_EQ(ToFloat16(middle).bits, bits + (bits & 1)) << bits;
    EXPECT_EQ(ToFloat16(std::nextafter(middle, 0.0f)).bits, bits) << bits;
    EXPECT_EQ(ToFloat16(std::nextafter(middle, 1e9f)).bits, bits + 1) << bits;
  }
  EXPECT_EQ(ToFloat16(65519.996f).bits, 0x7bff);
  EXPECT_EQ(ToFloat16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(ToFloat16(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
}

TEST(BFloat16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const BFloat16 value{static_cast<uint16_t>(bits)};
    EXPECT_EQ(ToBFloat16(ToFloat(value)).bits, bits);
    float middle;
    const uint32_t middle_bits = (bits << 16) | 0x8000u;
    std::memcpy(&middle, &middle_bits, sizeof(middle));
    EXPECT_EQ(ToBFloat16(middle).bits, bits + (bits & 1));
  }
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(std::nanf("")))));
}

TEST(DType, NamesRoundTrip) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    EXPECT_EQ(ParseDType(Name(dtype)), dtype);
  }
  EXPECT_THROW(ParseDType("fp8"), Error);
}

}  // namespace
}  // namespace tamis
