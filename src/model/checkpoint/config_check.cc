#include "model/checkpoint/config_check.h"

#include <cmath>

#include "base/check.h"

namespace tamis {

std::string_view Name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "llama";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
  }
  return "?";
}

int32_t CheckedSize(std::string_view label, std::string_view key, int64_t value, int64_t limit) {
  Require(value >= 1 && value <= limit, "{}: {} is {}; 1 to {} can be run", label, key, value,
          limit);
  return static_cast<int32_t>(value);
}

void CheckConfig(std::string_view label, const ModelConfig& config) {
  Require(config.head_dim % 8 == 0 && config.head_dim <= ConfigBounds::kHeadDim,
          "{}: the head dimension is {}; a multiple of 8 up to {} can be run", label,
          config.head_dim, ConfigBounds::kHeadDim);
  Require(config.q_heads % config.kv_heads == 0,
          "{}: {} query heads cannot share {} key-value heads; a multiple is needed", label,
          config.q_heads, config.kv_heads);
  Require(config.rms_epsilon > 0.0 && config.rms_epsilon < 1.0,
          "{}: the norm's epsilon is {}; a number above 0 and below 1 is needed", label,
          config.rms_epsilon);

  const RopeConfig& rope = config.rope;
  Require(rope.theta >= 1.0 && rope.theta <= 1e15,
          "{}: the rotary base is {}; a number from 1 to 1e15 is needed", label, rope.theta);
  if (rope.factor != 1.0) {
    Require(rope.factor >= 1.0 && rope.factor <= 1e6,
            "{}: the rotary scaling factor is {}; a number from 1 to 1e6 is needed", label,
            rope.factor);
    Require(rope.low_frequency_factor > 0.0 &&
                rope.high_frequency_factor > rope.low_frequency_factor &&
                rope.high_frequency_factor <= 1e6,
            "{}: rotary scaling factors {} (low) and {} (high) are out of order; "
            "0 < low < high <= 1e6 is needed",
            label, rope.low_frequency_factor, rope.high_frequency_factor);
    Require(rope.original_max_positions >= 1,
            "{}: rotary scaling needs original_max_position_embeddings of at least 1, not {}",
            label, rope.original_max_positions);
  }
  if (!rope.frequency_factors.empty()) {
    Require(rope.frequency_factors.size() == static_cast<size_t>(config.head_dim / 2),
            "{}: {} rotary frequency factors for a head dimension of {}; {} are needed", label,
            rope.frequency_factors.size(), config.head_dim, config.head_dim / 2);
    for (const float factor : rope.frequency_factors) {
      Require(std::isfinite(factor) && factor > 0.0f,
              "{}: a rotary frequency factor is {}; all must be finite and above 0", label, factor);
    }
  }
}

}  // namespace tamis
