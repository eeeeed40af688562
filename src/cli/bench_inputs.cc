#include "cli/bench_inputs.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/check.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

constexpr int32_t kBlock = 128;
constexpr int32_t kSinks = 4;

/// SplitMix64 over a key, so that any row can be made by any thread.
class Random {
 public:
  Random(uint64_t kind, uint64_t head, uint64_t row)
      : state_(kind * 0x9e3779b97f4a7c15u + head * 0xbf58476d1ce4e5b9u + row) {
    Next();
  }
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In (0, 1).
  double Uniform() { return (static_cast<double>(Next() >> 11) + 0.5) * 0x1p-53; }
  /// Two independent normal values (Box and Muller).
  std::pair<float, float> Normals() {
    const double radius = std::sqrt(-2.0 * std::log(Uniform()));
    const double angle = 2.0 * std::numbers::pi * Uniform();
    return {static_cast<float>(radius * std::cos(angle)),
            static_cast<float>(radius * std::sin(angle))};
  }

 private:
  uint64_t state_;
};

enum Kind : uint64_t { kQ = 1, kK, kV, kTopic, kNeedle, kStripe, kStrength };

void FillNormal(Kind kind, int32_t head, int32_t row, std::vector<float>& values) {
  Random random(kind, static_cast<uint64_t>(head), static_cast<uint64_t>(row));
  for (size_t i = 0; i < values.size(); i += 2) {
    std::tie(values[i], values[i + 1]) = random.Normals();
  }
}

/// Adds `strength` times the unit vector that stands for a block of keys to values[first, end).
void AddTopic(int32_t kv_head, int32_t block, double strength, size_t first,
              std::vector<float>& values) {
  std::vector<float> topic((values.size() - first + 1) / 2 * 2);
  FillNormal(kTopic, kv_head, block, topic);
  double norm = 0.0;
  for (size_t i = first; i < values.size(); ++i) norm += topic[i - first] * topic[i - first];
  const auto scale = static_cast<float>(strength / std::sqrt(norm));
  for (size_t i = first; i < values.size(); ++i) values[i] += scale * topic[i - first];
}

/// Coordinates: 0 carries sinks and stripes, the next quarter rotates with the position, the upper
/// half carries topics. Each feature adds its square amplitude over sqrt(head_dim) to a score.
struct Structure {
  int32_t head_dim;
  size_t topics() const { return static_cast<size_t>(head_dim) / 2; }
  int32_t pairs() const { return head_dim / 8; }
  double amplitude(double score) const { return std::sqrt(score * std::sqrt(head_dim)); }

  /// A smooth bump at distance 0: sum over frequencies of cos(w (i - j)).
  void AddPosition(int32_t row, double score, std::vector<float>& values) const {
    const double each = amplitude(score / pairs());
    for (int32_t p = 0; p < pairs(); ++p) {
      const double angle = row * std::pow(2.0, -1.0 - 8.0 * p / pairs());
      values[1 + 2 * p] += static_cast<float>(each * std::cos(angle));
      values[2 + 2 * p] += static_cast<float>(each * std::sin(angle));
    }
  }
};

/// How much a query head makes of a feature: 0.7 to 1.3.
double Strength(int32_t q_head, uint64_t feature) {
  return 0.7 + 0.6 * Random(kStrength, static_cast<uint64_t>(q_head), feature).Uniform();
}

void StructuredQuery(const BenchShape& shape, int32_t head, int32_t position,
                     std::vector<float>& values) {
  const Structure structure{shape.head_dim};
  values[0] += static_cast<float>(structure.amplitude(9.0) * Strength(head, 0));
  structure.AddPosition(position, 9.0 * Strength(head, 1), values);
  const int32_t block = position / kBlock;
  const int32_t wanted = static_cast<int32_t>(
      Random(kNeedle, static_cast<uint64_t>(head), static_cast<uint64_t>(block)).Next() %
      static_cast<uint64_t>(block + 1));
  AddTopic(head / (shape.q_heads / shape.kv_heads), wanted,
           structure.amplitude(9.0) * Strength(head, 2), structure.topics(), values);
}

void StructuredKey(const BenchShape& shape, int32_t head, int32_t position,
                   std::vector<float>& values) {
  const Structure structure{shape.head_dim};
  const int32_t block = position / kBlock;
  // One block in 32 holds stripes, four keys each.
  const bool striped =
      Random(kStripe, static_cast<uint64_t>(head), static_cast<uint64_t>(block)).Next() % 32 == 0 &&
      position % 32 == 7;
  if (position < kSinks || striped) values[0] += static_cast<float>(structure.amplitude(9.0));
  structure.AddPosition(position, 9.0, values);
  AddTopic(head, block, structure.amplitude(9.0), structure.topics(), values);
}

}  // namespace

BenchInputs ParseBenchInputs(std::string_view name) {
  if (name == "structured") return BenchInputs::kStructured;
  if (name == "gaussian") return BenchInputs::kGaussian;
  Fail("unknown inputs '{}'; use structured or gaussian", name);
}

void BenchTensors::CheckMemory(const BenchShape& shape) {
  const double element = static_cast<double>(SizeOf(shape.dtype)) * shape.head_dim;
  const double bytes = 2.0 * element * shape.q_heads * shape.query_tokens +
                       2.0 * element * shape.kv_heads * shape.key_tokens;
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  Require(bytes < 0.8 * memory,
          "Q, K, V and O of {} keys need {} and this machine has {}; give a shorter --length or "
          "fewer heads",
          shape.key_tokens, FormatBytes(static_cast<size_t>(bytes)),
          FormatBytes(static_cast<size_t>(memory)));
}

BenchTensors::BenchTensors(const BenchShape& shape, BenchInputs inputs, ThreadPool& pool)
    : shape_(shape) {
  CheckMemory(shape);
  const auto fill = [&](Kind kind, AlignedBuffer& buffer, int32_t heads, int32_t rows,
                        int32_t first_position, const Strides& strides) {
    const size_t row_bytes = SizeOf(shape.dtype) * static_cast<size_t>(shape.head_dim);
    buffer.Reserve(row_bytes * static_cast<size_t>(heads) * static_cast<size_t>(rows));
    pool.ParallelFor(rows, [&](int64_t row, int) {
      const int32_t position = first_position + static_cast<int32_t>(row);
      std::vector<float> values(static_cast<size_t>(shape.head_dim));
      for (int32_t head = 0; head < heads; ++head) {
        FillNormal(kind, head, position, values);
        if (inputs == BenchInputs::kStructured && kind == kQ) {
          StructuredQuery(shape, head, position, values);
        } else if (inputs == BenchInputs::kStructured && kind == kK) {
          StructuredKey(shape, head, position, values);
        }
        ConvertFromFloat(
            shape.dtype, values.data(),
            buffer.as<char>() +
                static_cast<size_t>(row * strides.row + head * strides.head) * SizeOf(shape.dtype),
            values.size());
      }
    });
  };
  fill(kQ, q_, shape.q_heads, shape.query_tokens, shape.key_tokens - shape.query_tokens,
       query_strides());
  fill(kK, k_, shape.kv_heads, shape.key_tokens, 0, key_strides());
  fill(kV, v_, shape.kv_heads, shape.key_tokens, 0, key_strides());
  o_.Reserve(SizeOf(shape.dtype) * static_cast<size_t>(shape.head_dim) *
             static_cast<size_t>(shape.q_heads) * static_cast<size_t>(shape.query_tokens));
}

Strides BenchTensors::query_strides() const {
  const int64_t row = int64_t{shape_.q_heads} * shape_.head_dim;
  return {shape_.query_tokens * row, row, shape_.head_dim};
}

Strides BenchTensors::key_strides() const {
  const int64_t head = int64_t{shape_.key_tokens} * shape_.head_dim;
  return {shape_.kv_heads * head, shape_.head_dim, head};
}

AttentionArguments BenchTensors::arguments() const {
  AttentionArguments arguments;
  arguments.q_heads = shape_.q_heads;
  arguments.kv_heads = shape_.kv_heads;
  arguments.head_dim = shape_.head_dim;
  arguments.dtype = arguments.kv_dtype = shape_.dtype;
  arguments.query_tokens = shape_.query_tokens;
  arguments.key_tokens = shape_.key_tokens;
  arguments.phase = shape_.phase;
  arguments.q = {q_.data(), query_strides()};
  arguments.k = {k_.data(), key_strides()};
  arguments.v = {v_.data(), key_strides()};
  arguments.o = {o_.data(), query_strides()};
  return arguments;
}

}  // namespace tamis::cli
