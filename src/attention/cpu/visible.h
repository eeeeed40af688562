// Which keys a query row sees: the call's mask as ranges of keys, and per step as bits.
#ifndef TAMIS_ATTENTION_CPU_VISIBLE_H_
#define TAMIS_ATTENTION_CPU_VISIBLE_H_

#include <algorithm>
#include <bit>
#include <cstdint>

#include "attention/cpu/call.h"

namespace tamis::cpu {

/// Keys [0, sink_end) and [begin, end), in storage order, with sink_end <= begin <= end. Positions
/// ascend with storage, so causality, windows and sinks always leave two ranges. Where they touch
/// they are one: sink_end is 0.
struct Span {
  int32_t sink_end = 0;
  int32_t begin = 0;
  int32_t end = 0;
  /// Whether every key of [first, last) is in one of the ranges.
  bool Covers(int32_t first, int32_t last) const {
    return (first >= begin && last <= end) || last <= sink_end;
  }
  int64_t size() const { return int64_t{sink_end} + (end - begin); }
};

/// The step's worth of keys that one pass of the executor works on.
struct StepKeys {
  int32_t first = 0;                  ///< key of column 0, a multiple of kStepKeys
  int32_t count = 0;                  ///< columns that hold a key, at most kStepKeys
  const int32_t* gathered = nullptr;  ///< keys of the columns where they are not consecutive
  RowMask visited = {};               ///< columns that the index visits

  int32_t Key(int32_t column) const {
    return gathered != nullptr ? gathered[column] : first + column;
  }
  /// The first column of a key at or after `key`; `count` where there is none.
  int32_t ColumnOf(int32_t key) const {
    if (gathered != nullptr) {
      return static_cast<int32_t>(std::lower_bound(gathered, gathered + count, key) - gathered);
    }
    return std::clamp(key - first, 0, count);
  }
};

/// Bits [begin, end) of a mask, 0 <= begin, end <= 128.
inline RowMask BitRange(int32_t begin, int32_t end) {
  const auto below = [](int32_t n) -> uint64_t {
    return n <= 0 ? 0 : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  };
  if (end <= begin) return {};
  return {{below(end) & ~below(begin), below(end - 64) & ~below(begin - 64)}};
}
inline RowMask operator&(const RowMask& a, const RowMask& b) {
  return {{a.bits[0] & b.bits[0], a.bits[1] & b.bits[1]}};
}
inline RowMask operator|(const RowMask& a, const RowMask& b) {
  return {{a.bits[0] | b.bits[0], a.bits[1] | b.bits[1]}};
}
inline RowMask operator~(const RowMask& a) { return {{~a.bits[0], ~a.bits[1]}}; }
inline bool operator==(const RowMask& a, const RowMask& b) {
  return a.bits[0] == b.bits[0] && a.bits[1] == b.bits[1];
}
inline bool Any(const RowMask& a) { return (a.bits[0] | a.bits[1]) != 0; }
inline int32_t Count(const RowMask& a) {
  return std::popcount(a.bits[0]) + std::popcount(a.bits[1]);
}
inline int32_t FirstBit(const RowMask& a) {
  return a.bits[0] != 0 ? std::countr_zero(a.bits[0]) : 64 + std::countr_zero(a.bits[1]);
}
inline int32_t EndBit(const RowMask& a) {
  return a.bits[1] != 0 ? 128 - std::countl_zero(a.bits[1]) : 64 - std::countl_zero(a.bits[0]);
}

/// The mask of one sequence.
class Visibility {
 public:
  Visibility(const Call& call, const SequenceView& sequence, int32_t b)
      : call_(call), sequence_(sequence), b_(b), plain_causal_(IsPlainCausal(call.arguments)) {}

  /// What causality, windows and sinks leave to a query row.
  Span SpanOf(int32_t query) const {
    if (!plain_causal_) return MaskedSpan(query);
    const int64_t end = sequence_.QueryPosition(query) + 1;
    return {.end = static_cast<int32_t>(std::clamp<int64_t>(end, 0, sequence_.keys()))};
  }
  /// Keys at positions < sink_tokens or with 0 <= query position - position < recent_tokens.
  Span SinkAndRecent(int32_t query, int32_t sink_tokens, int32_t recent_tokens) const;
  /// The number of keys at positions below `position`.
  int32_t KeysBelow(int64_t position) const;

  /// Bits of the step's columns inside `span`.
  static RowMask SpanBits(const Span& span, const StepKeys& step) {
    const RowMask recent = BitRange(step.ColumnOf(span.begin), step.ColumnOf(span.end));
    return span.sink_end == 0 ? recent : BitRange(0, step.ColumnOf(span.sink_end)) | recent;
  }
  /// Bits of the step's columns that one row sees and the index visits.
  RowMask Bits(const Span& span, const StepKeys& step, int32_t query, int32_t head) const {
    const RowMask mask = SpanBits(span, step) & step.visited;
    return !call_.has_pair_mask || !Any(mask) ? mask : PairBits(step, query, head, mask);
  }
  /// Bits of the keep mask (and of biases above -inf) among the bits of `mask`.
  RowMask PairBits(const StepKeys& step, int32_t query, int32_t head, RowMask mask) const;

 private:
  static bool IsPlainCausal(const AttentionArguments& arguments) {
    const AttentionMask& mask = arguments.mask;
    return mask.causality == Causality::kCausal && mask.window_left < 0 &&
           arguments.key_positions == nullptr;
  }
  Span MaskedSpan(int32_t query) const;

  const Call& call_;
  const SequenceView& sequence_;
  int32_t b_;
  bool plain_causal_;  // a row sees the keys up to its own: what windows to the right leave too
};

/// Sets the bits of `kept` in the call's executed mask.
void WriteExecuted(const Call& call, const StepKeys& step, int32_t b, int32_t head, int32_t query,
                   RowMask kept);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_VISIBLE_H_
