// Policies: which selector and rule each layer and head uses in each phase.
#ifndef TAMIS_POLICY_H_
#define TAMIS_POLICY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/attention.h"

namespace tamis {

/// What a policy is resolved against.
struct PolicyTarget {
  /// HuggingFace dotted paths of the attention modules, in layer order whatever the file format:
  /// "model.layers.7.self_attn".
  std::vector<std::string> modules;
  int32_t q_heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
};

/// A parsed, validated policy document. Immutable.
class Policy {
 public:
  /// `spec` is a preset name, a path to a JSON file, or inline JSON (starts with '{'); JSON may be
  /// a tamis policy or a ModelOpt configuration with a `sparse_cfg` key. `overrides` are
  /// "key=value" settings applied to the document (see docs/policy.md). Throws Error naming key,
  /// value and fix; nothing is ever ignored.
  static Policy Parse(std::string_view spec, std::span<const std::string> overrides = {});

  /// Every query attends to every key the mask allows.
  static Policy Dense();

  /// For tables: the preset's name, the document's "name", or "custom".
  const std::string& name() const;
  /// The canonical document, with schema_version.
  std::string ToJson() const;
  /// True where every layer and head is dense in both phases.
  bool IsDense() const;

  struct Document;
  const Document& document() const { return *document_; }

 private:
  explicit Policy(std::shared_ptr<const Document> document);
  std::shared_ptr<const Document> document_;
};

struct PresetInfo {
  std::string_view name;
  std::string_view help;
};
std::span<const PresetInfo> PolicyPresets();

/// A table of what each layer, head and phase resolves to on `target` at `key_tokens` keys.
/// Throws Error where an entry matches no module or names a head that does not exist.
std::string ExplainPolicy(const Policy& policy, const PolicyTarget& target, int32_t key_tokens,
                          Device device);

/// What one phase of one layer did, summed over calls.
struct PhaseStatistics {
  AttentionCounts counts;
  double select_seconds = 0.0;
  double attend_seconds = 0.0;
  /// Mean over rows of the softmax probability kept, against dense attention on the same Q and K.
  /// Valid where retained_rows > 0: PolicyAttentionOptions::measure_retained_mass.
  double retained_mass_sum = 0.0;
  int64_t retained_rows = 0;
  double retained_mass() const {
    return retained_rows == 0 ? 1.0 : retained_mass_sum / static_cast<double>(retained_rows);
  }
  PhaseStatistics& operator+=(const PhaseStatistics& other);
};

struct PolicyStatistics {
  std::vector<PhaseStatistics> prefill;  ///< by layer
  std::vector<PhaseStatistics> decode;   ///< by layer
  PhaseStatistics Total(Phase phase) const;
};

struct PolicyAttentionOptions {
  bool collect_counts = true;
  /// Runs a dense pass beside each sparse one, for its LSE. Never in timed runs.
  bool measure_retained_mass = false;
};

/// Runs attention layers under a policy: resolves, selects, plans, runs, counts. This is the only
/// way models reach attention. Owns its workspace, which grows to the largest call and is then
/// reused. One call at a time.
class PolicyAttention {
 public:
  /// Throws Error where the policy does not fit the target or the device does not run it.
  PolicyAttention(const Policy& policy, const PolicyTarget& target, const ExecutionContext& context,
                  const PolicyAttentionOptions& options = {});
  ~PolicyAttention();
  PolicyAttention(PolicyAttention&&) noexcept;

  /// `arguments` describe one layer's call over all its heads, with lse, counts and executed
  /// unset; each sequence's phase chooses the policy's phase.
  void Attend(int32_t layer, const AttentionArguments& arguments);

  const PolicyStatistics& statistics() const;
  void ResetStatistics();
  /// Largest workspace so far, bytes.
  size_t workspace_bytes() const;
  /// Paths that ran, for reports: "cpu/avx512-bf16".
  std::string path() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tamis

#endif  // TAMIS_POLICY_H_
