// A policy as parsed: what each entry asks for, before it meets a model.
#ifndef TAMIS_POLICY_DOCUMENT_H_
#define TAMIS_POLICY_DOCUMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/json_text.h"
#include "tamis/policy.h"
#include "tamis/selector.h"

namespace tamis::policy {

inline constexpr int kPolicySchemaVersion = 1;
inline constexpr int32_t kMaxHeads = 4096;
inline constexpr int32_t kMaxTokens = 1 << 30;

/// A selector and every parameter it has, defaults filled in. A list holds one value per query
/// head of the layer.
struct SelectorSpec {
  std::string type;
  ParameterValues values;
};

/// lambda = threshold, or scale_factor / keys of the sequence, never above max_lambda.
struct SkipSoftmaxSpec {
  double threshold = 0.0;
  std::optional<double> scale_factor;
  /// The largest lambda the scale was calibrated on.
  std::optional<double> max_lambda;
  TileGeometry geometry;

  /// lambda of a sequence of `keys` keys. A scale factor that gives 1 or more says that its target
  /// cannot be met at this length: the value is passed on as it is, and the sequence runs dense.
  double Lambda(int64_t keys) const;
  /// No sequence can ever have a lambda above 0.
  bool IsOff() const { return !scale_factor && threshold == 0.0; }
  bool operator==(const SkipSoftmaxSpec&) const = default;
};

struct NOfMSpec {
  int32_t n = 2;
  int32_t m = 4;
  int32_t sink_tokens = 0;
  int32_t recent_tokens = 0;
  bool skip_diagonal_blocks = false;
  bool operator==(const NOfMSpec&) const = default;
};

/// What runs in one phase. Nothing set: dense.
struct PhaseSpec {
  std::optional<SelectorSpec> selector;
  std::optional<SkipSoftmaxSpec> skip_softmax;
  std::optional<NOfMSpec> n_of_m;

  bool IsDense() const { return !selector && !n_of_m && (!skip_softmax || skip_softmax->IsOff()); }
};

/// Replaces the phases it names for the layers, heads and lengths it covers.
struct Entry {
  std::vector<std::string> match;  ///< empty: every module
  std::vector<int32_t> heads;      ///< ascending global query heads; empty: every head
  int32_t min_tokens = 0;          ///< keys of the sequence, inclusive
  int32_t max_tokens = INT32_MAX;
  std::optional<PhaseSpec> prefill;
  std::optional<PhaseSpec> decode;

  const std::optional<PhaseSpec>& phase(Phase p) const {
    return p == Phase::kPrefill ? prefill : decode;
  }
};

enum class Backend : uint8_t { kAuto, kCpu, kCuda };

/// Reads one phase of a policy. `path` prefixes the keys in errors.
PhaseSpec ReadPhase(const Json& value, Phase phase, Backend backend, const std::string& path);
Json WritePhase(const PhaseSpec& spec);

/// Throws Error at `path` unless a device that `backend` allows runs the geometry.
void CheckGeometry(const TileGeometry& geometry, Phase phase, Backend backend,
                   const std::string& path);
/// 128 x 128, votes by query head, one pass; for decode 1 x 128, votes by GQA group.
TileGeometry DefaultGeometry(Phase phase);
/// "128x128", with votes and splits where they are not the phase's usual ones.
std::string Describe(const TileGeometry& geometry, Phase phase);

}  // namespace tamis::policy

namespace tamis {

struct Policy::Document {
  std::string name = "custom";
  policy::Backend backend = policy::Backend::kAuto;
  policy::PhaseSpec prefill;
  policy::PhaseSpec decode;
  std::vector<policy::Entry> entries;

  const policy::PhaseSpec& phase(Phase p) const { return p == Phase::kPrefill ? prefill : decode; }
};

namespace policy {

/// Throws Error with the key path first.
Policy::Document ReadDocument(const Json& value);
Json WriteDocument(const Policy::Document& document);

}  // namespace policy
}  // namespace tamis

#endif  // TAMIS_POLICY_DOCUMENT_H_
