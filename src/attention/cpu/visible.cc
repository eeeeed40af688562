#include "attention/cpu/visible.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

namespace tamis::cpu {
namespace {

/// Past every position, with room to add a window.
constexpr int64_t kFarAway = int64_t{1} << 40;

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/// The last position that causality shows to a query.
int64_t CausalLimit(const AttentionMask& mask, int64_t query_position) {
  switch (mask.causality) {
    case Causality::kCausal:
      return query_position;
    case Causality::kBlockCausal:
      return (FloorDivide(query_position, mask.causal_block) + 1) * mask.causal_block - 1;
    case Causality::kBidirectional:
      break;
  }
  return kFarAway;
}

Span MakeSpan(int32_t sink_end, int32_t begin, int32_t end) {
  begin = std::max(begin, sink_end);
  end = std::max(begin, end);
  return begin <= sink_end ? Span{0, 0, end} : Span{sink_end, begin, end};
}

/// Bit i set where byte i of `bytes` is not zero.
uint64_t NonZeroBytes(uint64_t bytes) {
  constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7fu;
  const uint64_t high = (((bytes & kLow) + kLow) | bytes) & ~kLow;
  return (high >> 7) * 0x0102040810204080u >> 56;
}

/// Bits of `count` consecutive mask bytes.
RowMask BytesToBits(const uint8_t* bytes, int32_t count) {
  RowMask mask = {};
  for (int32_t i = 0; i < count; i += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, bytes + i, static_cast<size_t>(std::min(8, count - i)));
    mask.bits[i / 64] |= NonZeroBytes(eight) << (i % 64);
  }
  return mask;
}

}  // namespace

int32_t Visibility::KeysBelow(int64_t position) const {
  const int32_t keys = sequence_.keys();
  if (call_.arguments.key_positions == nullptr) {
    return static_cast<int32_t>(std::clamp<int64_t>(position, 0, keys));
  }
  int32_t low = 0, high = keys;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (sequence_.KeyPosition(middle) < position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Span Visibility::MaskedSpan(int32_t query) const {
  const AttentionMask& mask = call_.arguments.mask;
  const int64_t position = sequence_.QueryPosition(query);
  const int64_t limit = CausalLimit(mask, position);
  int64_t last = limit;
  if (mask.window_right >= 0) last = std::min(last, position + mask.window_right);
  const int32_t end = KeysBelow(last + 1);
  const int32_t sink_end = KeysBelow(std::min<int64_t>(limit + 1, mask.sink_tokens));
  const int32_t begin = mask.window_left >= 0 ? KeysBelow(position - mask.window_left) : 0;
  return MakeSpan(sink_end, begin, end);
}

Span Visibility::SinkAndRecent(int32_t query, int32_t sink_tokens, int32_t recent_tokens) const {
  const int64_t position = sequence_.QueryPosition(query);
  return MakeSpan(KeysBelow(sink_tokens), KeysBelow(position - recent_tokens + 1),
                  KeysBelow(position + 1));
}

RowMask Visibility::PairBits(const StepKeys& step, int32_t query, int32_t head,
                             RowMask mask) const {
  const AttentionArguments& a = call_.arguments;
  const uint8_t* keep = a.mask.keep == nullptr
                            ? nullptr
                            : a.mask.keep + b_ * a.mask.keep_batch_stride +
                                  head * a.mask.keep_head_stride + query * a.mask.keep_query_stride;
  const float* bias = a.bias.data == nullptr
                          ? nullptr
                          : a.bias.data + b_ * a.bias.batch_stride + head * a.bias.head_stride +
                                query * a.bias.query_stride;
  if (keep != nullptr && step.gathered == nullptr) {
    mask = mask & BytesToBits(keep + step.first, step.count);
    keep = nullptr;
  }
  if (keep == nullptr && bias == nullptr) return mask;
  for (int32_t column = 0; column < step.count; ++column) {
    const int32_t key = step.Key(column);
    const bool hidden = (keep != nullptr && keep[key] == 0) ||
                        (bias != nullptr && !(bias[key] > -std::numeric_limits<float>::infinity()));
    if (hidden) mask.bits[column / 64] &= ~(uint64_t{1} << (column % 64));
  }
  return mask;
}

void WriteExecuted(const Call& call, const StepKeys& step, int32_t b, int32_t head, int32_t query,
                   RowMask kept) {
  const AttentionArguments& a = call.arguments;
  const int64_t words = (a.key_tokens + 31) / 32;
  uint32_t* row = a.executed + ((int64_t{b} * a.q_heads + head) * a.query_tokens + query) * words;
  while (Any(kept)) {
    const int32_t column = FirstBit(kept);
    kept.bits[column / 64] &= kept.bits[column / 64] - 1;
    const int32_t key = step.Key(column);
    // Key ranges of one row may be on several threads in decode.
    std::atomic_ref<uint32_t>(row[key / 32]).fetch_or(1u << (key % 32), std::memory_order_relaxed);
  }
}

}  // namespace tamis::cpu
