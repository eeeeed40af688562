#include "attention/cpu/n_of_m.h"

#include <algorithm>

namespace tamis::cpu {

Thinner::Thinner(const Call& call, const SequenceView& sequence, const Visibility& visibility)
    : call_(call),
      sequence_(sequence),
      visibility_(visibility),
      active_(call.rule.n_of_m.n > 0 &&
              (sequence.phase() == Phase::kPrefill || call.rule.n_of_m.in_decode)) {}

bool Thinner::Thins(const StepKeys& step, int32_t begin, int32_t end, int32_t query) const {
  if (!active_ || step.gathered != nullptr) return false;
  if (!call_.rule.n_of_m.skip_diagonal_blocks) return true;
  const int32_t rows = call_.tiles.diagonal_rows;
  const int32_t query_begin = query / rows * rows;
  const int32_t query_last = std::min(query_begin + rows, sequence_.queries()) - 1;
  const int32_t key_last = std::min(step.first + end, sequence_.keys()) - 1;
  return sequence_.KeyPosition(step.first + begin) > sequence_.QueryPosition(query_last) ||
         sequence_.QueryPosition(query_begin) > sequence_.KeyPosition(key_last);
}

bool Thinner::HasDense(const StepKeys& step, int32_t query) const {
  const NOfMRule& rule = call_.rule.n_of_m;
  const Span dense = visibility_.SinkAndRecent(query, rule.sink_tokens, rule.recent_tokens);
  return step.Key(0) < dense.sink_end || step.Key(step.count - 1) >= dense.begin;
}

bool Thinner::IsPlainTwoOfFour(const StepKeys& step, int32_t query) const {
  const NOfMRule& rule = call_.rule.n_of_m;
  return rule.n == 2 && rule.m == 4 && call_.arguments.key_positions == nullptr &&
         !HasDense(step, query);
}

RowMask Thinner::Dense(const StepKeys& step, int32_t query) const {
  const NOfMRule& rule = call_.rule.n_of_m;
  if (rule.sink_tokens == 0 && rule.recent_tokens == 0) return {};
  return Visibility::SpanBits(
      visibility_.SinkAndRecent(query, rule.sink_tokens, rule.recent_tokens), step);
}

void Thinner::Thin(const StepKeys& step, ThinArguments tile) const {
  tile.n = call_.rule.n_of_m.n;
  tile.m = call_.rule.n_of_m.m;
  if (call_.arguments.key_positions == nullptr) return call_.kernels.thin_rows(tile);
  const ColumnRange& columns = tile.columns;
  const RowMask in_tile = BitRange(columns.begin, columns.end);
  for (int32_t row = 0; row < tile.rows; ++row) {
    const RowMask visible = tile.masks[row] & in_tile;
    if (!Any(visible)) continue;
    float* s = tile.s + row * tile.s_stride;
    RowMask kept = BestByPosition(s, step, visible);
    if (tile.always != nullptr) kept = kept | (tile.always[row] & visible);
    call_.kernels.mask_rows(
        {.s = s, .s_stride = tile.s_stride, .rows = 1, .ranges = &columns, .masks = &kept});
    tile.masks[row] = (tile.masks[row] & ~in_tile) | kept;
  }
}

RowMask Thinner::BestByPosition(const float* s, const StepKeys& step, RowMask visible) const {
  const NOfMRule& rule = call_.rule.n_of_m;
  RowMask kept = {};
  int32_t members[8];
  int32_t count = 0;
  int64_t group = -1;
  const auto choose = [&] {
    for (int32_t i = 0; i < count; ++i) {
      int32_t better = 0;
      for (int32_t j = 0; j < count; ++j) {
        const float mine = s[members[i]], other = s[members[j]];
        better += other > mine || (other == mine && j < i) ? 1 : 0;
      }
      if (better < rule.n) kept.bits[members[i] / 64] |= uint64_t{1} << (members[i] % 64);
    }
    count = 0;
  };
  while (Any(visible)) {
    const int32_t column = FirstBit(visible);
    visible.bits[column / 64] &= ~(uint64_t{1} << (column % 64));
    const int64_t next = sequence_.KeyPosition(step.Key(column)) / rule.m;
    if (next != group) choose();
    group = next;
    members[count++] = column;
  }
  choose();
  return kept;
}

}  // namespace tamis::cpu
