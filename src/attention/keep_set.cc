#include "tamis/keep_set.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace tamis {

KeepSet::KeepSet(int32_t key_tokens, std::vector<std::vector<int32_t>> kept)
    : key_tokens_(key_tokens), kept_(std::move(kept)) {
  Require(key_tokens >= 0, "keep set of {} keys; give the number of keys held, 0 or more",
          key_tokens);
  Require(!kept_.empty(), "keep set without KV heads; give one list per KV head");
  for (size_t head = 0; head < kept_.size(); ++head) {
    int32_t previous = -1;
    for (const int32_t key : kept_[head]) {
      Require(key >= 0 && key < key_tokens,
              "keep set names key {} for KV head {}; keys lie in [0, {})", key, head, key_tokens);
      Require(key > previous,
              "keep set names key {} after key {} for KV head {}; sort the list and name each key "
              "once",
              key, previous, head);
      previous = key;
    }
  }
}

KeepSet KeepSet::SinkAndRecent(int32_t kv_heads, int32_t key_tokens, int32_t sink_tokens,
                               int32_t recent_tokens) {
  Require(kv_heads > 0, "keep set of {} KV heads; give at least 1", kv_heads);
  Require(key_tokens >= 0, "keep set of {} keys; give the number of keys held, 0 or more",
          key_tokens);
  Require(sink_tokens >= 0 && recent_tokens >= 0,
          "keep set of {} sink and {} recent tokens; give 0 or more", sink_tokens, recent_tokens);
  const int32_t sinks = std::min(sink_tokens, key_tokens);
  const int32_t first_recent = std::max(sinks, key_tokens - std::min(recent_tokens, key_tokens));
  std::vector<int32_t> keys(sinks + (key_tokens - first_recent));
  std::iota(keys.begin(), keys.begin() + sinks, 0);
  std::iota(keys.begin() + sinks, keys.end(), first_recent);
  return KeepSet(key_tokens, std::vector<std::vector<int32_t>>(kv_heads, keys));
}

}  // namespace tamis
