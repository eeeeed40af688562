// ExplainPolicy: what each layer, head and phase resolves to, as a table.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "policy/resolver.h"

namespace tamis {
namespace {

using policy::PhaseSpec;
using policy::Resolver;

std::string DescribeValue(const ParameterInfo& info, const std::vector<double>& values) {
  if (values.size() > 1) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return fmt::format("{}={}..{} by head", info.name, *low, *high);
  }
  if (info.kind == ParameterInfo::Kind::kBoolean) {
    return fmt::format("{}={}", info.name, values[0] != 0.0);
  }
  return fmt::format("{}={}", info.name, values[0]);
}

std::string DescribeSkipSoftmax(const policy::SkipSoftmaxSpec& spec, Phase phase, int32_t keys) {
  const double lambda = spec.Lambda(keys);
  std::string text =
      fmt::format("skip-softmax {} lambda={:.4g}", policy::Describe(spec.geometry, phase), lambda);
  if (!spec.scale_factor) return text;
  text += fmt::format(" ({:g}/{} keys)", *spec.scale_factor, keys);
  if (lambda >= 1.0) {
    text += ", 1 or more: dense";
  } else if (spec.max_lambda && lambda == *spec.max_lambda) {
    text += ", held at max_lambda";
  }
  return text;
}

std::string DescribePhase(const PhaseSpec& spec, Phase phase, int32_t keys) {
  if (spec.IsDense()) return "dense";
  std::vector<std::string> parts;
  if (spec.selector) {
    std::string text = spec.selector->type;
    for (const ParameterInfo& info : FindSelector(text).parameters) {
      text += " " + DescribeValue(info, spec.selector->values.find(info.name)->second);
    }
    parts.push_back(std::move(text));
  }
  if (spec.n_of_m) {
    std::string text = fmt::format("{}:{}", spec.n_of_m->n, spec.n_of_m->m);
    if (spec.n_of_m->sink_tokens > 0) text += fmt::format(" sink={}", spec.n_of_m->sink_tokens);
    if (spec.n_of_m->recent_tokens > 0) {
      text += fmt::format(" recent={}", spec.n_of_m->recent_tokens);
    }
    if (spec.n_of_m->skip_diagonal_blocks) text += " diagonal dense";
    parts.push_back(std::move(text));
  }
  if (spec.skip_softmax && !spec.skip_softmax->IsOff()) {
    parts.push_back(DescribeSkipSoftmax(*spec.skip_softmax, phase, keys));
  }
  return fmt::format("{}", fmt::join(parts, " + "));
}

std::string Range(int32_t first, int32_t last) {
  return first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
}

// What one layer runs: {prefill, decode} of each head.
using LayerRow = std::vector<std::pair<std::string, std::string>>;

LayerRow DescribeLayer(const Resolver& resolver, int32_t layer, int32_t keys) {
  const std::vector<int32_t> prefill = resolver.Heads(layer, Phase::kPrefill, keys);
  const std::vector<int32_t> decode = resolver.Heads(layer, Phase::kDecode, keys);
  LayerRow row;
  for (size_t h = 0; h < prefill.size(); ++h) {
    if (h > 0 && prefill[h] == prefill[h - 1] && decode[h] == decode[h - 1]) {
      row.push_back(row.back());
      continue;
    }
    row.emplace_back(
        DescribePhase(resolver.Spec(prefill[h], Phase::kPrefill), Phase::kPrefill, keys),
        DescribePhase(resolver.Spec(decode[h], Phase::kDecode), Phase::kDecode, keys));
  }
  return row;
}

std::string Aligned(const std::vector<std::vector<std::string>>& table) {
  std::vector<size_t> widths(table[0].size(), 0);
  for (const auto& row : table) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string out;
  for (const auto& row : table) {
    for (size_t c = 0; c + 1 < row.size(); ++c) {
      out += fmt::format("{:<{}}  ", row[c], widths[c]);
    }
    out += row.back() + "\n";
  }
  return out;
}

}  // namespace

std::string ExplainPolicy(const Policy& policy, const PolicyTarget& target, int32_t key_tokens,
                          Device device) {
  Require(key_tokens >= 1, "policy explain: {} keys; give a length of at least 1", key_tokens);
  const Resolver resolver(policy, target, device);
  std::vector<std::vector<std::string>> table = {{"layers", "heads", "prefill", "decode"}};
  for (int32_t first = 0; first < resolver.layers();) {
    const LayerRow row = DescribeLayer(resolver, first, key_tokens);
    int32_t last = first + 1;
    while (last < resolver.layers() && DescribeLayer(resolver, last, key_tokens) == row) ++last;
    const auto heads = static_cast<int32_t>(row.size());
    for (int32_t begin = 0; begin < heads;) {
      int32_t end = begin + 1;
      while (end < heads && row[end] == row[begin]) ++end;
      table.push_back({begin == 0 ? Range(first, last - 1) : "",
                       end - begin == heads ? "all" : Range(begin, end - 1), row[begin].first,
                       row[begin].second});
      begin = end;
    }
    first = last;
  }
  return fmt::format("policy {} at {} keys on {}: {} layers, {} query heads, {} KV heads\n\n{}",
                     policy.name(), key_tokens, Name(device), resolver.layers(), target.q_heads,
                     target.kv_heads, Aligned(table));
}

}  // namespace tamis
