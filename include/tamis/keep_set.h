// Which keys a KV cache retains for good.
#ifndef TAMIS_KEEP_SET_H_
#define TAMIS_KEEP_SET_H_

#include <cstdint>
#include <span>
#include <vector>

namespace tamis {

/// Per KV head of one sequence and layer, the key indices (storage order) to retain. What is not
/// named is dropped: from then on it costs neither time nor memory, and the positions of what
/// stays travel on as AttentionArguments::key_positions.
class KeepSet {
 public:
  /// Retains `kept[h]` for KV head h; each list strictly ascending, within [0, key_tokens).
  /// Throws Error otherwise.
  KeepSet(int32_t key_tokens, std::vector<std::vector<int32_t>> kept);

  /// The first `sink_tokens` and the last `recent_tokens` of `key_tokens` keys, for every head.
  static KeepSet SinkAndRecent(int32_t kv_heads, int32_t key_tokens, int32_t sink_tokens,
                               int32_t recent_tokens);

  int32_t kv_heads() const { return static_cast<int32_t>(kept_.size()); }
  int32_t key_tokens() const { return key_tokens_; }
  std::span<const int32_t> kept(int32_t kv_head) const { return kept_[kv_head]; }

 private:
  int32_t key_tokens_;
  std::vector<std::vector<int32_t>> kept_;
};

}  // namespace tamis

#endif  // TAMIS_KEEP_SET_H_
