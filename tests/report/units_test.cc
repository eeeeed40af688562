#include "report/units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "report/samples.h"

namespace tamis {
namespace {

TEST(Units, NumbersKeepThreeDigits) {
  EXPECT_EQ(FormatNumber(0), "0");
  EXPECT_EQ(FormatNumber(0.1234), "0.123");
  EXPECT_EQ(FormatNumber(0.9996), "1.00");
  EXPECT_EQ(FormatNumber(9.996), "10.0");
  EXPECT_EQ(FormatNumber(99.96), "100");
  EXPECT_EQ(FormatNumber(1234.4), "1234");
  EXPECT_EQ(FormatNumber(-12.34), "-12.3");
  EXPECT_EQ(FormatNumber(NAN), "-");
}

TEST(Units, SmallNumbersKeepTwo) {
  EXPECT_EQ(FormatSmall(0), "0");
  EXPECT_EQ(FormatSmall(3.44e-5), "3.4e-05");
  EXPECT_EQ(FormatSmall(0.00123), "0.0012");
  EXPECT_EQ(FormatSmall(0.0123), "0.012");
  EXPECT_EQ(FormatSmall(1.234), "1.23");
}

TEST(Units, CountsAreGrouped) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(4096), "4,096");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatCount(std::numeric_limits<int64_t>::max()), "9,223,372,036,854,775,807");
}

TEST(Units, PercentsNeverRoundOntoABound) {
  EXPECT_EQ(FormatPercent(0.2314), "23.1%");
  EXPECT_EQ(FormatPercent(1.0), "100%");
  EXPECT_EQ(FormatPercent(0.0), "0%");
  EXPECT_EQ(FormatPercent(0.9997), "99.97%");
  EXPECT_EQ(FormatPercent(0.999999), "<100%");
  EXPECT_EQ(FormatPercent(0.0001), "<0.1%");
  EXPECT_EQ(FormatPercent(-0.05), "-5.0%");
}

TEST(Units, Bytes) {
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(98566144), "94.0 MiB");
  EXPECT_EQ(FormatBytes((size_t{1} << 30) - 1), "1.00 GiB");
}

TEST(Units, Seconds) {
  EXPECT_EQ(FormatSeconds(12.34e-6), "12.3 µs");
  EXPECT_EQ(FormatSeconds(0.01234), "12.3 ms");
  EXPECT_EQ(FormatSeconds(6.214), "6.21 s");
  EXPECT_EQ(FormatSeconds(59.96), "1 min 00 s");
  EXPECT_EQ(FormatSeconds(125.2), "2 min 05 s");
}

TEST(Units, Magnitudes) {
  EXPECT_EQ(FormatMagnitude(134515008), "135 M");
  EXPECT_EQ(FormatMagnitude(8030261248), "8.03 B");
  EXPECT_EQ(FormatMagnitude(12345), "12,345");
}

TEST(Samples, MedianAndSpread) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Spread({2, 3, 1}), 1.0);
  EXPECT_EQ(Spread({5}), 0);
}

}  // namespace
}  // namespace tamis
