// A policy met with a model: what each layer and head runs.
#ifndef TAMIS_POLICY_RESOLVER_H_
#define TAMIS_POLICY_RESOLVER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "policy/document.h"
#include "tamis/policy.h"
#include "tamis/selector.h"

namespace tamis::policy {

/// Consecutive query heads that run in one call: one selector type, one rule. Starts and ends at
/// GQA groups, or lies within one.
struct HeadRange {
  int32_t begin = 0;
  int32_t end = 0;
  const PhaseSpec* spec = nullptr;     ///< of the first head; the rule is the same for all
  std::unique_ptr<Selector> selector;  ///< null: every key; per-head values are those of the range
};

/// Immutable. Keeps the policy's document alive.
class Resolver {
 public:
  /// Throws Error naming the key where a pattern matches no module, a head does not exist, a
  /// per-head list has the wrong length, or `device` is not the policy's or lacks a geometry.
  Resolver(const Policy& policy, const PolicyTarget& target, Device device);

  int32_t layers() const { return static_cast<int32_t>(target_.modules.size()); }
  const PolicyTarget& target() const { return target_; }
  const Policy& policy() const { return policy_; }

  /// Which specification each query head runs: 0 the default, i + 1 entry i. The default comes
  /// first, then the entries in order; the last that covers layer, head and length wins.
  std::vector<int32_t> Heads(int32_t layer, Phase phase, int64_t keys) const;
  const PhaseSpec& Spec(int32_t id, Phase phase) const;

  /// Lengths of one class resolve alike: the number of `when` bounds at or below `keys`.
  int32_t LengthClass(int64_t keys) const;

  /// The fewest calls that run `heads`, in head order.
  std::vector<HeadRange> Partition(const std::vector<int32_t>& heads, Phase phase) const;

 private:
  void CheckSpec(const PhaseSpec& spec, Phase phase, Device device, const std::string& path) const;
  HeadRange MakeRange(const std::vector<int32_t>& heads, Phase phase, int32_t begin,
                      int32_t end) const;

  Policy policy_;
  PolicyTarget target_;
  std::vector<std::vector<bool>> covers_;  // [entry][layer]
  std::vector<int64_t> length_bounds_;     // ascending
};

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_RESOLVER_H_
