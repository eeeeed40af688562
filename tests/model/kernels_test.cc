#include "model/cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tamis/dtype.h"

namespace tamis {
namespace {

std::vector<float> Normal(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

class KernelsTest : public ::testing::TestWithParam<CpuIsa> {
 protected:
  const Kernels& kernels_ = KernelsFor(GetParam());
};

TEST_P(KernelsTest, StoresRoundToNearestEven) {
  std::vector<float> x = Normal(67, 1);
  x[0] = 1.0f + 0x1p-8f;      // half way, to even: down
  x[1] = 1.0f + 3 * 0x1p-8f;  // half way, to even: up
  x[2] = -0x1.fffffep127f;    // overflows
  x[3] = std::nanf("");
  x[4] = -INFINITY;
  std::vector<uint16_t> narrow(x.size() + 1, 0x1234);
  std::vector<float> wide(x.size() + 1, 5.0f);
  const auto count = static_cast<int64_t>(x.size());
  kernels_.store(x.data(), count, narrow.data(), StoreAs::kBF16);
  kernels_.store(x.data(), count, wide.data(), StoreAs::kF32RoundedToBF16);
  for (size_t i = 0; i < x.size(); ++i) {
    const BFloat16 expected = ToBFloat16(x[i]);
    if (std::isnan(x[i])) {
      EXPECT_TRUE(std::isnan(ToFloat(BFloat16{narrow[i]})));
      EXPECT_TRUE(std::isnan(wide[i]));
      continue;
    }
    EXPECT_EQ(narrow[i], expected.bits) << x[i];
    EXPECT_EQ(wide[i], ToFloat(expected)) << x[i];
  }
  EXPECT_EQ(narrow.back(), 0x1234);
  EXPECT_EQ(wide.back(), 5.0f);

  std::vector<float> back(x.size() + 1, 5.0f);
  kernels_.widen_bf16(narrow.data(), count, back.data());
  for (size_t i = 5; i < x.size(); ++i) EXPECT_EQ(back[i], wide[i]);
  EXPECT_EQ(back.back(), 5.0f);
}

TEST_P(KernelsTest, RmsNorm) {
  for (const int64_t columns : {1, 8, 24, 64, 100, 576}) {
    const int64_t rows = 3;
    const std::vector<float> x = Normal(rows * columns, 2, 10.0f);
    const std::vector<float> weight = Normal(columns, 3);
    std::vector<float> out(rows * columns);
    kernels_.rms_norm(x.data(), rows, columns, weight.data(), 1e-5f, out.data(), StoreAs::kF32);
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0.0;
      for (int64_t c = 0; c < columns; ++c)
        squares += double{x[r * columns + c]} * x[r * columns + c];
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(columns) + 1e-5f);
      for (int64_t c = 0; c < columns; ++c) {
        const double expected = x[r * columns + c] * scale * weight[c];
        // Sums of squares lose less than columns / 16 + 6 roundings, half of which reach the root.
        EXPECT_NEAR(out[r * columns + c], expected,
                    std::abs(expected) * static_cast<double>(columns / 32 + 8) * 0x1p-24);
      }
    }
  }
}

TEST_P(KernelsTest, SwiGluOverTheWholeRange) {
  std::vector<float> gate = Normal(300, 4, 5.0f);
  for (const float edge : {0.0f, -0.0f, 1e-30f, 87.0f, 89.0f, 1e30f, -87.0f, -89.0f, -1e4f}) {
    gate.push_back(edge);
  }
  const std::vector<float> up = Normal(static_cast<int64_t>(gate.size()), 5);
  std::vector<float> out(gate.size());
  const auto count = static_cast<int64_t>(gate.size());
  kernels_.swiglu(gate.data(), up.data(), count, 1, count, out.data(), count, StoreAs::kF32);
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i];
    const double expected = g / (1.0 + std::exp(-g)) * up[i];
    // Below -87 the function has left the range that f32 keeps relative precision in.
    EXPECT_NEAR(out[i], expected, std::abs(expected) * 8 * 0x1p-24 + 1e-30 * std::abs(g))
        << "gate " << g;
  }
}

TEST_P(KernelsTest, FinishHeads) {
  for (const int64_t dim : {8, 24, 64, 80, 128}) {
    for (const int options : {0, 1, 2, 3}) {
      const bool with_norm = options & 1;
      const bool with_bias = options & 2;
      const int64_t rows = 5;
      const int64_t stride = dim + 16;
      const int64_t half = dim / 2;
      std::vector<float> values = Normal(rows * stride, 6);
      const std::vector<float> before = values;
      const std::vector<float> bias = Normal(dim, 7);
      const std::vector<float> norm = Normal(dim, 8);
      std::vector<float> cosine(rows * half), sine(rows * half);
      for (int64_t i = 0; i < rows * half; ++i) {
        cosine[i] = std::cos(static_cast<float>(i));
        sine[i] = std::sin(static_cast<float>(i));
      }
      std::vector<float> out(rows * 3 * dim, 9.0f);
      kernels_.finish_heads({.values = values.data(),
                             .stride = stride,
                             .rows = rows,
                             .head_dim = dim,
                             .bias = with_bias ? bias.data() : nullptr,
                             .norm = with_norm ? norm.data() : nullptr,
                             .epsilon = 1e-6f,
                             .cosine = cosine.data(),
                             .sine = sine.data(),
                             .out = out.data() + dim,
                             .out_stride = 3 * dim,
                             .as = StoreAs::kF32});
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<double> x(dim);
        double squares = 0.0;
        for (int64_t c = 0; c < dim; ++c) {
          x[c] = before[r * stride + c] + (with_bias ? double{bias[c]} : 0.0);
          squares += x[c] * x[c];
        }
        if (with_norm) {
          const double scale = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-6f);
          for (int64_t c = 0; c < dim; ++c) x[c] *= scale * norm[c];
        }
        for (int64_t c = 0; c < half; ++c) {
          const double cos = cosine[r * half + c];
          const double sin = sine[r * half + c];
          const double bound = (std::abs(x[c]) + std::abs(x[half + c])) * 16 * 0x1p-24 + 1e-6;
          const float* row = out.data() + r * 3 * dim + dim;
          EXPECT_NEAR(row[c], x[c] * cos - x[half + c] * sin, bound);
          EXPECT_NEAR(row[half + c], x[half + c] * cos + x[c] * sin, bound);
        }
        EXPECT_EQ(out[r * 3 * dim], 9.0f);
        EXPECT_EQ(out[r * 3 * dim + 2 * dim], 9.0f);
      }
    }
  }
}

TEST_P(KernelsTest, ValuesPassThroughFinishHeadsUnturned) {
  std::vector<float> values = Normal(2 * 24, 9);
  std::vector<uint16_t> out(2 * 24 + 1, 0x1234);
  kernels_.finish_heads({.values = values.data(),
                         .stride = 24,
                         .rows = 2,
                         .head_dim = 24,
                         .out = out.data(),
                         .out_stride = 24,
                         .as = StoreAs::kBF16});
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(out[i], ToBFloat16(values[i]).bits);
  EXPECT_EQ(out.back(), 0x1234);
}

TEST_P(KernelsTest, AddLeavesNeighboursAlone) {
  const std::vector<float> values = Normal(2 * 32, 10);
  std::vector<float> out(2 * 40, 1.0f);
  kernels_.add(values.data(), 32, 2, 19, out.data() + 3, 40);
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t c = 0; c < 40; ++c) {
      const bool inside = c >= 3 && c < 22;
      EXPECT_EQ(out[r * 40 + c], inside ? 1.0f + values[r * 32 + c - 3] : 1.0f);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, KernelsTest, ::testing::ValuesIn(AvailableCpuIsas()),
                         [](const auto& info) {
                           std::string name(Name(info.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace tamis
