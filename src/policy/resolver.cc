#include "policy/resolver.h"

#include <algorithm>

#include "base/check.h"
#include "policy/pattern.h"

namespace tamis::policy {
namespace {

double ValueOf(const std::vector<double>& values, int32_t head) {
  return values.size() == 1 ? values[0] : values[head];
}

// Whether heads of the two specifications can share one call: only per-head parameters differ.
bool SameCall(const PhaseSpec& a, const PhaseSpec& b) {
  if (&a == &b) return true;
  if (a.skip_softmax != b.skip_softmax || a.n_of_m != b.n_of_m) return false;
  if (a.selector.has_value() != b.selector.has_value()) return false;
  if (!a.selector) return true;
  if (a.selector->type != b.selector->type) return false;
  const std::vector<ParameterInfo>& parameters = FindSelector(a.selector->type).parameters;
  return std::all_of(parameters.begin(), parameters.end(), [&](const ParameterInfo& info) {
    return info.per_head ||
           a.selector->values.find(info.name)->second == b.selector->values.find(info.name)->second;
  });
}

std::vector<bool> Covers(const Entry& entry, const std::string& path, const PolicyTarget& target) {
  if (entry.match.empty()) return std::vector<bool>(target.modules.size(), true);
  std::vector<bool> covers(target.modules.size());
  for (const std::string& pattern : entry.match) {
    bool any = false;
    for (size_t layer = 0; layer < target.modules.size(); ++layer) {
      if (!MatchesPattern(pattern, target.modules[layer])) continue;
      covers[layer] = any = true;
    }
    Require(any, "{}.match: {} matches none of the {} attention modules ({} to {}); mend it", path,
            Quote(pattern), target.modules.size(), target.modules.front(), target.modules.back());
  }
  return covers;
}

}  // namespace

Resolver::Resolver(const Policy& policy, const PolicyTarget& target, Device device)
    : policy_(policy), target_(target) {
  Require(!target.modules.empty() && target.kv_heads > 0 && target.q_heads > 0 &&
              target.q_heads % target.kv_heads == 0 && target.q_heads <= kMaxHeads,
          "policy target: {} layers, {} query heads, {} KV heads; give at least one layer and KV "
          "heads that divide the query heads (at most {})",
          target.modules.size(), target.q_heads, target.kv_heads, kMaxHeads);
  const Policy::Document& document = policy_.document();
  try {
    const bool other = (document.backend == Backend::kCpu && device != Device::kCpu) ||
                       (document.backend == Backend::kCuda && device != Device::kCuda);
    Require(!other, "backend: the policy is for {}, the run is on {}; run it there, or say auto",
            document.backend == Backend::kCpu ? "cpu" : "cuda", Name(device));
    CheckSpec(document.prefill, Phase::kPrefill, device, "default.prefill");
    CheckSpec(document.decode, Phase::kDecode, device, "default.decode");
    for (size_t i = 0; i < document.entries.size(); ++i) {
      const Entry& entry = document.entries[i];
      const std::string path = JoinPath("entries", std::to_string(i));
      covers_.push_back(Covers(entry, path, target_));
      if (!entry.heads.empty() && entry.heads.back() >= target_.q_heads) {
        Fail("{}.heads: head {} does not exist; the model has query heads 0 to {}", path,
             entry.heads.back(), target_.q_heads - 1);
      }
      if (entry.prefill) CheckSpec(*entry.prefill, Phase::kPrefill, device, path + ".prefill");
      if (entry.decode) CheckSpec(*entry.decode, Phase::kDecode, device, path + ".decode");
      length_bounds_.push_back(entry.min_tokens);
      length_bounds_.push_back(int64_t{entry.max_tokens} + 1);
    }
  } catch (const Error& error) {
    Fail("policy {}: {}", policy_.name(), error.what());
  }
  std::sort(length_bounds_.begin(), length_bounds_.end());
}

void Resolver::CheckSpec(const PhaseSpec& spec, Phase phase, Device device,
                         const std::string& path) const {
  if (spec.skip_softmax) {
    CheckGeometry(spec.skip_softmax->geometry, phase,
                  device == Device::kCpu ? Backend::kCpu : Backend::kCuda,
                  path + ".skip_softmax.geometry");
  }
  if (!spec.selector) return;
  for (const auto& [name, values] : spec.selector->values) {
    Require(values.size() == 1 || values.size() == static_cast<size_t>(target_.q_heads),
            "{}.selector.{}: {} values for {} query heads; give one per head, or one for all", path,
            name, values.size(), target_.q_heads);
  }
}

const PhaseSpec& Resolver::Spec(int32_t id, Phase phase) const {
  const Policy::Document& document = policy_.document();
  return id == 0 ? document.phase(phase) : *document.entries[id - 1].phase(phase);
}

std::vector<int32_t> Resolver::Heads(int32_t layer, Phase phase, int64_t keys) const {
  std::vector<int32_t> ids(target_.q_heads, 0);
  const std::vector<Entry>& entries = policy_.document().entries;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (!covers_[i][layer] || !entry.phase(phase)) continue;
    if (keys < entry.min_tokens || keys > entry.max_tokens) continue;
    const auto id = static_cast<int32_t>(i + 1);
    if (entry.heads.empty()) std::fill(ids.begin(), ids.end(), id);
    for (int32_t head : entry.heads) ids[head] = id;
  }
  return ids;
}

int32_t Resolver::LengthClass(int64_t keys) const {
  return static_cast<int32_t>(std::upper_bound(length_bounds_.begin(), length_bounds_.end(), keys) -
                              length_bounds_.begin());
}

HeadRange Resolver::MakeRange(const std::vector<int32_t>& heads, Phase phase, int32_t begin,
                              int32_t end) const {
  HeadRange range{begin, end, &Spec(heads[begin], phase), nullptr};
  if (!range.spec->selector) return range;
  ParameterValues values;
  for (const ParameterInfo& info : FindSelector(range.spec->selector->type).parameters) {
    std::vector<double> list;
    for (int32_t h = begin; h < end; ++h) {
      list.push_back(ValueOf(Spec(heads[h], phase).selector->values.find(info.name)->second, h));
    }
    const bool uniform =
        std::all_of(list.begin(), list.end(), [&](double value) { return value == list[0]; });
    if (uniform) list.resize(1);
    values.emplace(info.name, std::move(list));
  }
  range.selector = MakeSelector(range.spec->selector->type, values);
  return range;
}

std::vector<HeadRange> Resolver::Partition(const std::vector<int32_t>& heads, Phase phase) const {
  const auto count = static_cast<int32_t>(heads.size());
  const int32_t group = target_.q_heads / target_.kv_heads;
  std::vector<HeadRange> ranges;
  for (int32_t begin = 0; begin < count;) {
    int32_t end = begin + 1;
    while (end < count && SameCall(Spec(heads[begin], phase), Spec(heads[end], phase))) ++end;
    // Cut the run where it enters its first whole group and where it leaves its last one.
    while (begin < end) {
      const int32_t group_end = (begin / group + 1) * group;
      const bool aligned = begin % group == 0 && end >= group_end;
      const int32_t stop = aligned ? end / group * group : std::min(end, group_end);
      ranges.push_back(MakeRange(heads, phase, begin, stop));
      begin = stop;
    }
  }
  return ranges;
}

}  // namespace tamis::policy
