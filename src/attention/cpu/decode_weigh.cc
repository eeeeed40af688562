// The second part of a decode unit: weights of the scores of a split, values, and all splits
// merged.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention/cpu/decode_runs.h"
#include "attention/cpu/decode_unit.h"

namespace tamis::cpu {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Bits of the scores in [begin, end) that are kept.
RowMask KeptBits(const float* s, const ColumnRange& columns) {
  RowMask mask = {};
  for (int32_t c = columns.begin; c < columns.end; ++c) {
    if (s[c] > kMinusInfinity) mask.bits[c / 64] |= uint64_t{1} << (c % 64);
  }
  return mask;
}

}  // namespace

void DecodeUnit::Weigh(int32_t first_split, int32_t splits) {
  for (int32_t i = 0; i < splits; ++i) WeighSplit(first_split + i);
}

/// Weights are relative to the maximum of their split, so that they do not depend on scores still
/// to come; Merge levels them.
void DecodeUnit::WeighSplit(int32_t split) {
  std::fill_n(scratch_.running_max, rows_, kMinusInfinity);
  for (int32_t earlier = 0; skips_ && earlier < split; ++earlier) {
    const float* split_max = storage_.split_max + int64_t{earlier} * rows_;
    for (int32_t r = 0; r < rows_; ++r) {
      scratch_.running_max[r] = std::max(scratch_.running_max[r], split_max[r]);
    }
  }
  const float* base_max = storage_.split_max + int64_t{split} * rows_;
  float* sums = storage_.sums + int64_t{split} * rows_;
  std::fill_n(sums, rows_, 0.0f);
  std::fill_n(scratch_.value_sums, int64_t{rows_} * kMaxHeadDim, 0.0f);
  const int32_t first = split * kSplitSteps;
  const int32_t last = std::min(steps_, first + kSplitSteps);
  const int32_t blocks_end = std::clamp(block_steps_, first, last);
  // All weights come before the first value: whatever is read or written between values costs what
  // hardware had fetched ahead of them.
  ColumnRange columns[kSplitSteps];
  if (skips_ || call_.arguments.executed != nullptr) {
    for (int32_t s = first; s < blocks_end; ++s) {
      columns[s - first] = WeighStep(s, base_max, sums);
    }
  } else {
    WeighAll(first, blocks_end, base_max, sums, columns);
  }
  ForRuns(columns, first, blocks_end,
          [&](int32_t key, int32_t count) { AddValues(key, count, 0, rows_, Weights(0, key)); });
  for (int32_t s = blocks_end; s < last; ++s) {
    AddGathered(s, WeighStep(s, base_max, sums));
  }
  call_.kernels.order_values(scratch_.value_sums, rows_, call_.arguments.dim_v(),
                             storage_.outputs + int64_t{split} * rows_ * kMaxHeadDim);
}

/// Weights of the steps [first, last), as many steps at a time as a row sees one after the other;
/// columns[0..]: those that some row weighs.
void DecodeUnit::WeighAll(int32_t first, int32_t last, const float* base_max, float* sums,
                          ColumnRange* columns) {
  constexpr bool kNoneDropped[kStepKeys / 64] = {};
  std::fill_n(columns, last - first, ColumnRange{kStepKeys, 0});
  for (int32_t r = 0; r < rows_; ++r) {
    const float base = ExponentBase(base_max[r], call_.factor);
    const auto sees = [&](int32_t s) {
      bool all = Visible(s).begin < Visible(s).end;
      for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
        all = all && TileMax(s, tile)[r] > kMinusInfinity;
      }
      return all;
    };
    for (int32_t s = first, end = first; s < last; s = end) {
      for (; end < last && sees(end); ++end) columns[end - first] = Visible(end);
      if (end > s) {
        call_.kernels.decode_exponentials(Scores(r, s), (end - s) * kStepKeys, call_.factor, base,
                                          Weights(r, int64_t{s} * kStepKeys), sums + r);
        continue;
      }
      const ColumnRange& visible = Visible(end++);
      if (visible.begin >= visible.end) continue;
      const ColumnRange stays = WeighRow(s, r, kNoneDropped, base, sums + r);
      ColumnRange& all = columns[s - first];
      all = {std::min(all.begin, std::max(stays.begin, visible.begin)),
             std::max(all.end, std::min(stays.end, visible.end))};
    }
  }
}

/// Weights of one step; returns the columns that some row weighs.
ColumnRange DecodeUnit::WeighStep(int32_t s, const float* base_max, float* sums) {
  const ColumnRange& visible = Visible(s);
  if (visible.begin >= visible.end) return {0, 0};
  ColumnRange stays{kStepKeys, 0};
  for (int32_t query = 0; query < rows_ / group_; ++query) {
    bool dropped[kStepKeys / 64];
    for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
      const float* maxima = TileMax(s, tile);
      dropped[tile] = skips_ && Skips(maxima, query);
      if (dropped[tile]) DropQuery(s, tile, query);
      for (int32_t r = query * group_; r < (query + 1) * group_; ++r) {
        scratch_.running_max[r] = std::max(scratch_.running_max[r], maxima[r]);
      }
    }
    for (int32_t r = query * group_; r < (query + 1) * group_; ++r) {
      const ColumnRange columns =
          WeighRow(s, r, dropped, ExponentBase(base_max[r], call_.factor), sums + r);
      stays = {std::min(stays.begin, columns.begin), std::max(stays.end, columns.end)};
    }
  }
  return {std::max(stays.begin, visible.begin), std::min(stays.end, visible.end)};
}

/// Weights of the tiles of one row that stay, in one pass whatever their width; zeros elsewhere.
/// Returns the columns that stay.
ColumnRange DecodeUnit::WeighRow(int32_t s, int32_t row, const bool* dropped, float base,
                                 float* sum) {
  const float* scores = Scores(row, s);
  const int64_t first = int64_t{s} * kStepKeys;
  ColumnRange stays{kStepKeys, 0};
  for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
    const ColumnRange columns = TileColumns(tile);
    if (dropped[tile] || TileMax(s, tile)[row] == kMinusInfinity) {
      std::memset(Weights(row, first + columns.begin), 0,
                  static_cast<size_t>(columns.end - columns.begin) * shape_.element_bytes);
      continue;
    }
    stays = {std::min(stays.begin, columns.begin), columns.end};
    if (call_.arguments.executed != nullptr) RecordExecuted(s, columns, row);
  }
  if (stays.begin < stays.end) {
    call_.kernels.decode_exponentials(scores + stays.begin, stays.end - stays.begin, call_.factor,
                                      base, Weights(row, first + stays.begin), sum);
  }
  return stays;
}

/// The vote of the group's heads for one query and tile.
bool DecodeUnit::Skips(const float* maxima, int32_t query) const {
  bool any_vote = false;
  for (int32_t r = query * group_; r < (query + 1) * group_; ++r) {
    if (maxima[r] == kMinusInfinity) continue;
    any_vote = true;
    if (!(maxima[r] < scratch_.running_max[r] + threshold_)) return false;
  }
  return any_vote;
}

/// Counts a dropped tile.
void DecodeUnit::DropQuery(int32_t s, int32_t tile, int32_t query) {
  if (call_.arguments.counts == nullptr) return;
  for (int32_t r = query * group_; r < (query + 1) * group_; ++r) {
    if (TileMax(s, tile)[r] == kMinusInfinity) continue;
    AddDrops(call_, b_, Head(r),
             {.pairs = Count(KeptBits(Scores(r, s), TileColumns(tile))), .tiles = 1});
  }
}

void DecodeUnit::RecordExecuted(int32_t s, const ColumnRange& tile, int32_t row) {
  StepKeys step = BlockStep(s);
  if (s >= block_steps_) {
    step = {.count = GatherColumns(row, s, scratch_.columns), .gathered = scratch_.columns};
  }
  WriteExecuted(call_, step, b_, Head(row), Query(row), KeptBits(Scores(row, s), tile));
}

void DecodeUnit::AddGathered(int32_t s, const ColumnRange& columns) {
  if (columns.begin >= columns.end) return;
  for (int32_t first = 0, last = 0; first < rows_; first = last) {
    last = first + RowsAlike(first);
    const int32_t count = GatherColumns(first, s, scratch_.columns);
    for (int32_t c = columns.begin; c < std::min(columns.end, count); ++c) {
      AddValues(scratch_.columns[c], 1, first, last - first,
                Weights(first, int64_t{s} * kStepKeys + c));
    }
  }
}

/// Values of `count` keys from `key` on. `weights`: of the first row and key.
void DecodeUnit::AddValues(int32_t key, int32_t count, int32_t first_row, int32_t rows,
                           const char* weights) {
  const AttentionArguments& a = call_.arguments;
  const ConstTensor& v = a.paged.page_size != 0 ? a.paged.v : a.v;
  const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
  RowsArguments run{.dtype = a.kv_dtype, .stride = v.stride.row * element, .dim = a.dim_v()};
  run.ahead = FetchesFor(call_.decode_fetches, run.stride, run.dim * element).values;
  for (int32_t done = 0; done < count; done += run.count) {
    // Kernels may weigh keys two by two: always the same two, however rows are cut into runs.
    const bool alone = (key + done) % 2 != 0;
    const int32_t length = RunLength(a, key + done);
    run.count = alone ? 1 : std::min(count - done, length);
    run.next = std::min(count - done, length) - run.count;
    run.rows = static_cast<const char*>(v.data) +
               sequence_.KeyOffset(v.stride, key + done, kv_head_) * element;
    call_.kernels.decode_values(run, weights + int64_t{done} * shape_.element_bytes, kSplitKeys,
                                rows, scratch_.value_sums + int64_t{first_row} * kMaxHeadDim);
  }
}

void DecodeUnit::Merge() {
  const int32_t splits = SplitsOf(steps_);
  const int32_t dim = call_.arguments.dim_v();
  for (int32_t r = 0; r < rows_; ++r) {
    float max = kMinusInfinity;
    for (int32_t split = 0; split < splits; ++split) {
      max = std::max(max, storage_.split_max[int64_t{split} * rows_ + r]);
    }
    const float base = ExponentBase(max, call_.factor);
    float sum = 0.0f;
    float output[kMaxHeadDim] = {};
    for (int32_t split = 0; split < splits; ++split) {
      const int64_t row = int64_t{split} * rows_ + r;
      const float level = std::exp2(storage_.split_max[row] * call_.factor - base);
      if (level == 0.0f) continue;
      sum += level * storage_.sums[row];
      const float* other = storage_.outputs + row * kMaxHeadDim;
      for (int32_t d = 0; d < dim; ++d) output[d] += level * other[d];
    }
    const float scale = FinishSum(call_, sequence_, Query(r), Head(r), base, sum);
    call_.kernels.store_rows(output, kMaxHeadDim,
                             OutputRowsOf(call_, sequence_, Query(r), 1, Head(r), &scale));
  }
}

}  // namespace tamis::cpu
