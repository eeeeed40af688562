#include "model/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <tuple>
#include <vector>

#include "model/checkpoint/test_model.h"

namespace tamis {
namespace {

using testing::Bytes;
using testing::RandomBlocks;

constexpr WeightType kTypes[] = {WeightType::kF32,  WeightType::kF16,  WeightType::kBF16,
                                 WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1,
                                 WeightType::kQ6_K};

/// A random matrix. Plain rows end anywhere, so they start anywhere.
struct Matrix {
  Matrix(WeightType type, int64_t rows, int64_t columns, uint32_t seed) {
    for (int64_t row = 0; row < rows; ++row) {
      const Bytes bytes = RandomBlocks(type, columns, 0.5f, seed + static_cast<uint32_t>(row));
      data.insert(data.end(), bytes.begin(), bytes.end());
    }
    weight = {type, rows, columns, data.data(), RowBytes(type, columns), 0};
  }
  Bytes data;
  Weight weight;
};

/// Activations as Linear wants them, and their exact values.
struct Input {
  Input(const Linear& linear, int64_t rows, int64_t columns, uint32_t seed)
      : stored(linear.ActivationBytes(rows, columns)), exact(rows * columns) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * columns; ++i) {
      float value = normal(random);
      if (linear.activations() != StoreAs::kF32) value = ToFloat(ToBFloat16(value));
      exact[i] = value;
      if (linear.activations() == StoreAs::kBF16) {
        stored.as<BFloat16>()[i] = ToBFloat16(value);
      } else {
        stored.as<float>()[i] = value;
      }
    }
  }
  AlignedBuffer stored;
  std::vector<float> exact;
};

/// x row . w row in fp64, and the sum of magnitudes that rounding errors are proportional to.
std::pair<double, double> Product(const float* x, const float* w, int64_t columns) {
  double sum = 0.0;
  double magnitude = 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    sum += double{x[c]} * w[c];
    magnitude += std::abs(double{x[c]} * w[c]);
  }
  return {sum, magnitude};
}

/// Bound of a product's error: one rounding an addition, and in bf16 one of each weight.
double Bound(const Linear& linear, int64_t rows, int64_t columns, double magnitude) {
  const bool rounds_weights = linear.activations() == StoreAs::kBF16 && !Linear::Direct(rows);
  return magnitude * (static_cast<double>(columns + 4) * 0x1p-24 + (rounds_weights ? 0x1p-8 : 0.0));
}

class LinearTest : public ::testing::TestWithParam<std::tuple<CpuIsa, DType>> {};

TEST_P(LinearTest, MatchesDoublePrecisionForEveryTypeAndRowCount) {
  const auto [isa, dtype] = GetParam();
  ThreadPool pool(2);
  Linear linear(pool, dtype, isa);
  for (const WeightType type : kTypes) {
    const bool plain = BlockValues(type) == 1;
    const int64_t columns = plain ? 93 : type == WeightType::kQ6_K ? 768 : 160;
    const int64_t features = 151;  // whole panels, then one that no step divides
    const Matrix matrix(type, features, columns, 7);
    const std::vector<float> w = testing::Values(matrix.weight);
    const std::vector<Panel> panels = SplitWeight(matrix.weight, 64);
    for (const int64_t rows : {1, 2, 3, 4, 5, 17, 128, 300}) {
      const Input x(linear, rows, columns, 11);
      std::vector<float> y(rows * features, NAN);
      linear.Run(x.stored.data(), rows, panels, [&](const PanelResult& result) {
        const PanelSource& source = panels[result.panel].sources[0];
        for (int64_t r = 0; r < result.rows; ++r) {
          for (int64_t f = 0; f < source.count; ++f) {
            y[(result.first_row + r) * features + source.first + f] =
                result.values[r * result.stride + f];
          }
        }
      });
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t f = 0; f < features; ++f) {
          const auto [sum, magnitude] =
              Product(x.exact.data() + r * columns, w.data() + f * columns, columns);
          ASSERT_NEAR(y[r * features + f], sum, Bound(linear, rows, columns, magnitude))
              << Name(type) << ", " << rows << " rows: row " << r << ", feature " << f;
        }
      }
    }
  }
}

TEST_P(LinearTest, PairsTwoWeightsInOnePanel) {
  const auto [isa, dtype] = GetParam();
  ThreadPool pool(2);
  Linear linear(pool, dtype, isa);
  const int64_t columns = 64;
  const int64_t features = 75;  // the last panel has 11 of each
  const Matrix gate(WeightType::kQ4_1, features, columns, 1);
  const Matrix up(WeightType::kQ8_0, features, columns, 2);
  std::vector<Panel> panels = SplitWeight(gate.weight, 64);
  for (Panel& panel : panels) {
    panel.sources[1] = panel.sources[0];
    panel.sources[1].weight = &up.weight;
  }
  const std::vector<float> w[] = {testing::Values(gate.weight), testing::Values(up.weight)};
  for (const int64_t rows : {1, 40}) {
    const Input x(linear, rows, columns, 3);
    std::atomic<int64_t> seen = 0;
    linear.Run(x.stored.data(), rows, panels, [&](const PanelResult& result) {
      const Panel& panel = panels[result.panel];
      for (int i = 0; i < 2; ++i) {
        for (int64_t r = 0; r < result.rows; ++r) {
          for (int64_t f = 0; f < panel.sources[i].count; ++f) {
            const auto [sum, magnitude] =
                Product(x.exact.data() + (result.first_row + r) * columns,
                        w[i].data() + (panel.sources[i].first + f) * columns, columns);
            EXPECT_NEAR(result.values[r * result.stride + panel.offset(i) + f], sum,
                        Bound(linear, rows, columns, magnitude));
            ++seen;
          }
        }
      }
    });
    EXPECT_EQ(seen, 2 * rows * features);
  }
}

TEST_P(LinearTest, UndoesTheInterleavingOfRotatedRows) {
  const auto [isa, dtype] = GetParam();
  ThreadPool pool(1);
  Linear linear(pool, dtype, isa);
  const int64_t columns = 32;
  Matrix matrix(WeightType::kF32, 48, columns, 5);
  matrix.weight.interleaved_head_dim = 24;
  const std::vector<float> w = testing::Values(matrix.weight);
  const std::vector<Panel> panels = SplitWeight(matrix.weight, 24);
  for (const int64_t rows : {2, 33}) {
    const Input x(linear, rows, columns, 6);
    linear.Run(x.stored.data(), rows, panels, [&](const PanelResult& result) {
      for (int64_t r = 0; r < result.rows; ++r) {
        for (int64_t f = 0; f < 24; ++f) {
          const auto [sum, magnitude] =
              Product(x.exact.data() + (result.first_row + r) * columns,
                      w.data() + (result.panel * 24 + f) * columns, columns);
          EXPECT_NEAR(result.values[r * result.stride + f], sum,
                      Bound(linear, rows, columns, magnitude));
        }
      }
    });
  }
}

TEST_P(LinearTest, RowsDoNotDependOnTheirNumber) {
  const auto [isa, dtype] = GetParam();
  ThreadPool pool(2);
  Linear linear(pool, dtype, isa);
  const int64_t columns = 576;
  const Matrix matrix(WeightType::kQ4_1, 64, columns, 9);
  const std::vector<Panel> panels = SplitWeight(matrix.weight, 64);
  const auto run = [&](const Input& x, int64_t rows) {
    std::vector<float> y(rows * 64);
    linear.Run(x.stored.data(), rows, panels, [&](const PanelResult& result) {
      std::copy_n(result.values, result.rows * 64, y.data() + result.first_row * 64);
    });
    return y;
  };
  const Input x(linear, 300, columns, 10);
  const std::vector<float> whole = run(x, 300);
  for (const int64_t rows : {17, 256, 299}) {
    const std::vector<float> part = run(x, rows);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin())) << rows << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, LinearTest,
                         ::testing::Combine(::testing::ValuesIn(AvailableCpuIsas()),
                                            ::testing::Values(DType::kF32, DType::kBF16)),
                         [](const auto& info) {
                           std::string name(Name(std::get<0>(info.param)));
                           std::erase(name, '-');
                           return name + "_" + std::string(Name(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace tamis
