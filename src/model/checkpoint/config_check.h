// Bounds that every model configuration is held to, whatever file it came from.
#ifndef TAMIS_MODEL_CHECKPOINT_CONFIG_CHECK_H_
#define TAMIS_MODEL_CHECKPOINT_CONFIG_CHECK_H_

#include <cstdint>
#include <string_view>

#include "tamis/model.h"

namespace tamis {

/// Far above any model of these architectures, low enough that products of two fit 63 bits.
struct ConfigBounds {
  static constexpr int64_t kLayers = 1024;
  static constexpr int64_t kHidden = 1 << 17;
  static constexpr int64_t kFeedForward = 1 << 20;
  static constexpr int64_t kHeads = 1024;
  static constexpr int64_t kHeadDim = 256;
  static constexpr int64_t kVocab = 1 << 22;
  static constexpr int64_t kPositions = 1 << 27;
};

/// Throws Error beginning with `label` unless `value` lies in [1, limit].
int32_t CheckedSize(std::string_view label, std::string_view key, int64_t value, int64_t limit);

/// Throws Error beginning with `label` where fields do not fit one another or a real number is out
/// of its range. Sizes are already within ConfigBounds.
void CheckConfig(std::string_view label, const ModelConfig& config);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_CONFIG_CHECK_H_
