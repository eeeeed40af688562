#include "attention/cpu/decode_unit.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tamis::cpu {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
/// Rows of a unit where the group has fewer: more share each key that is read.
constexpr int32_t kUnitRows = 16;

/// Bits of the scores in [begin, end) that are kept.
RowMask KeptBits(const float* s, const ColumnRange& columns) {
  RowMask mask = {};
  for (int32_t c = columns.begin; c < columns.end; ++c) {
    if (s[c] > kMinusInfinity) mask.bits[c / 64] |= uint64_t{1} << (c % 64);
  }
  return mask;
}

/// Calls work(first key, number of keys) for every run of keys in columns[0..] of the block steps
/// [first, last): runs go on from one step to the next, since hardware fetches ahead within them.
template <typename Work>
void ForRuns(const ColumnRange* columns, int32_t first, int32_t last, const Work& work) {
  int32_t begin = 0, end = 0;
  const auto flush = [&] {
    if (begin < end) work(begin, end - begin);
  };
  for (int32_t s = first; s < last; ++s) {
    const ColumnRange& step = columns[s - first];
    if (step.begin >= step.end) continue;
    if (s * kStepKeys + step.begin != end) {
      flush();
      begin = s * kStepKeys + step.begin;
    }
    end = s * kStepKeys + step.end;
  }
  flush();
}

}  // namespace

DecodeShape::DecodeShape(const Call& call) {
  const int32_t group = call.arguments.group();
  queries = std::clamp(kUnitRows / group, 1, std::max(1, call.arguments.query_tokens));
  rows = queries * group;
  element_bytes = call.kernels.element_bytes;
  tile_columns = call.tiles.columns;
  step_tiles = kStepKeys / tile_columns;
  scores_first = call.rule.skip_softmax.lambda != nullptr;
}

DecodeStorage::DecodeStorage(const DecodeShape& shape, int64_t steps, Carver& carver) {
  const int64_t splits = SplitsOf(steps);
  scores = shape.scores_first ? carver.Take<float>(shape.rows * steps * kStepKeys) : nullptr;
  tile_max = carver.Take<float>(steps * shape.step_tiles * shape.rows);
  split_max = carver.Take<float>(splits * shape.rows);
  visible = carver.Take<ColumnRange>(steps);
  sums = carver.Take<float>(splits * shape.rows);
  outputs = carver.Take<float>(splits * shape.rows * kMaxHeadDim);
}

DecodeScratch::DecodeScratch(const DecodeShape& shape, Carver& carver) {
  scores = shape.scores_first ? nullptr
                              : carver.Take<float>(int64_t{shape.rows} * kSplitSteps * kStepKeys);
  q = carver.Take<char>(int64_t{shape.rows} * kMaxHeadDim * shape.element_bytes);
  masks = carver.Take<RowMask>(int64_t{kSplitSteps} * shape.rows);
  spans = carver.Take<Span>(shape.rows);
  running_max = carver.Take<float>(shape.rows);
  unmasked_max = carver.Take<float>(shape.rows);
  bias = carver.Take<float>(kStepKeys);
  columns = carver.Take<int32_t>(kStepKeys);
}

DecodeUnit::DecodeUnit(const Call& call, const DecodeShape& shape, int32_t b, int32_t kv_head,
                       int32_t first_query, int32_t steps, const DecodeStorage& storage,
                       DecodeScratch& scratch)
    : call_(call),
      shape_(shape),
      storage_(storage),
      scratch_(scratch),
      sequence_(call.arguments, b),
      visibility_(call, sequence_, b),
      thinner_(call, sequence_, visibility_),
      b_(b),
      kv_head_(kv_head),
      first_query_(first_query),
      group_(call.arguments.group()),
      rows_(std::min(shape.queries, sequence_.queries() - first_query) * group_),
      block_steps_(BlockSteps(sequence_)),
      steps_(steps),
      scores_(shape.scores_first ? storage.scores : scratch.scores),
      stride_(int64_t{shape.scores_first ? steps : kSplitSteps} * kStepKeys),
      skips_(SkipThreshold(call, b, &threshold_)) {}

int32_t DecodeUnit::ColumnSteps(const Call& call, const DecodeShape& shape, int32_t b,
                                int32_t kv_head, int32_t first_query) {
  if (call.index == nullptr || call.index->column_offsets == nullptr) return 0;
  const SequenceView sequence(call.arguments, b);
  const int32_t group = call.arguments.group();
  const int32_t last_query = std::min(first_query + shape.queries, sequence.queries());
  int64_t most = 0;
  for (int32_t query = first_query; query < last_query; ++query) {
    for (int32_t g = 0; g < group; ++g) {
      const IndexRow row(call.index, b, kv_head * group + g, query, sequence.keys());
      most = std::max(most, row.columns_bound());
    }
  }
  return static_cast<int32_t>((most + kStepKeys - 1) / kStepKeys);
}

void DecodeUnit::LoadRows() {
  const AttentionArguments& a = call_.arguments;
  for (int32_t r = 0; r < rows_; ++r) {
    const int64_t offset = sequence_.QueryOffset(a.q.stride, Query(r), Head(r));
    call_.kernels.load_queries(
        a.dtype,
        static_cast<const char*>(a.q.data) + offset * static_cast<int64_t>(SizeOf(a.dtype)),
        scratch_.q + r * QueryBytes(), a.head_dim);
    scratch_.spans[r] = visibility_.SpanOf(Query(r));
    seen_begin_ = std::max(seen_begin_, scratch_.spans[r].begin);
    seen_end_ = std::min(seen_end_, scratch_.spans[r].end);
  }
}

void DecodeUnit::Score(int32_t split) {
  if (!shape_.scores_first) first_step_ = split * kSplitSteps;
  LoadRows();
  float* split_max = storage_.split_max + int64_t{split} * rows_;
  std::fill_n(split_max, rows_, kMinusInfinity);
  std::fill_n(scratch_.unmasked_max, rows_, kMinusInfinity);
  const int32_t first = split * kSplitSteps;
  const int32_t last = std::min(steps_, first + kSplitSteps);
  const int32_t blocks_end = std::clamp(block_steps_, first, last);
  std::fill_n(TileMax(first, 0), (last - first) * rows_ * shape_.step_tiles, kMinusInfinity);
  // Where nothing masks or changes scores, their maxima come with them.
  ColumnRange plain[kSplitSteps], other[kSplitSteps];
  for (int32_t s = first; s < blocks_end; ++s) {
    const bool whole = FindMasks(s);
    const bool is_plain =
        whole && !shape_.scores_first && !call_.adjusts_scores && !thinner_.active();
    plain[s - first] = is_plain ? storage_.visible[s] : ColumnRange{0, 0};
    other[s - first] = is_plain ? ColumnRange{0, 0} : storage_.visible[s];
  }
  ForRuns(plain, first, blocks_end, [&](int32_t key, int32_t count) {
    ScoreKeys(key, count, 0, rows_, KeyScores(0, key), split_max);
  });
  ForRuns(other, first, blocks_end, [&](int32_t key, int32_t count) {
    ScoreKeys(key, count, 0, rows_, KeyScores(0, key), scratch_.unmasked_max);
  });
  for (int32_t s = first; s < blocks_end; ++s) {
    if (plain[s - first].end > 0) {
      for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
        std::copy_n(split_max, rows_, TileMax(s, tile));
      }
    } else {
      const StepKeys step = BlockStep(s);
      for (int32_t r = 0; r < rows_; ++r) FinishScores(step, s, r);
    }
  }
  for (int32_t s = blocks_end; s < last; ++s) ScoreGathered(s);
  for (int32_t i = 0; i < (last - first) * shape_.step_tiles; ++i) {
    const float* maxima = TileMax(first, i);
    for (int32_t r = 0; r < rows_; ++r) split_max[r] = std::max(split_max[r], maxima[r]);
  }
}

StepKeys DecodeUnit::BlockStep(int32_t s) const {
  const int32_t first = s * kStepKeys;
  return {.first = first, .count = std::min(kStepKeys, sequence_.keys() - first)};
}

/// What each row sees of a block step, and what some row sees. True where every row sees all of it.
bool DecodeUnit::FindMasks(int32_t s) {
  StepKeys step = BlockStep(s);
  const RowMask whole = BitRange(0, kStepKeys);
  if (call_.index == nullptr && !call_.has_pair_mask && step.first >= seen_begin_ &&
      step.first + kStepKeys <= seen_end_) {
    std::fill_n(&Mask(s, 0), rows_, whole);
    storage_.visible[s] = {0, kStepKeys};
    return true;
  }
  RowMask some = {}, all = whole;
  for (int32_t r = 0; r < rows_; ++r) {
    step.visited = IndexRow(call_.index, b_, Head(r), Query(r), sequence_.keys()).Visited(s);
    Mask(s, r) = visibility_.Bits(scratch_.spans[r], step, Query(r), Head(r));
    some = some | Mask(s, r);
    all = all & Mask(s, r);
  }
  storage_.visible[s] =
      Any(some) ? ColumnRange{FirstBit(some), EndBit(some)} : ColumnRange{kStepKeys, 0};
  return all == whole;
}

/// A step of gathered columns: rows that share them are computed together.
void DecodeUnit::ScoreGathered(int32_t s) {
  ColumnRange& visible = storage_.visible[s];
  visible = {kStepKeys, 0};
  for (int32_t first = 0, last = 0; first < rows_; first = last) {
    last = first + RowsAlike(first);
    StepKeys step{.gathered = scratch_.columns};
    step.count = GatherColumns(first, s, scratch_.columns);
    step.visited = BitRange(0, step.count);
    RowMask together = {};
    for (int32_t r = first; r < last; ++r) {
      Mask(s, r) = visibility_.Bits(scratch_.spans[r], step, Query(r), Head(r));
      together = together | Mask(s, r);
    }
    if (Any(together)) {
      const ColumnRange columns{FirstBit(together), EndBit(together)};
      visible = {std::min(visible.begin, columns.begin), std::max(visible.end, columns.end)};
      for (int32_t c = columns.begin; c < columns.end; ++c) {
        ScoreKeys(step.gathered[c], 1, first, last - first, Scores(first, s) + c,
                  scratch_.unmasked_max);
      }
    }
    for (int32_t r = first; r < last; ++r) FinishScores(step, s, r);
  }
}

/// Products of `rows` rows from `first_row` on with `count` keys from `key` on. `scores`: of the
/// first row and key; `maxima` are raised.
void DecodeUnit::ScoreKeys(int32_t key, int32_t count, int32_t first_row, int32_t rows,
                           float* scores, float* maxima) {
  const AttentionArguments& a = call_.arguments;
  const ConstTensor& k = a.paged.page_size != 0 ? a.paged.k : a.k;
  const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
  RowsArguments run{.dtype = a.kv_dtype, .stride = k.stride.row * element, .dim = a.head_dim};
  for (int32_t done = 0; done < count; done += run.count) {
    run.count = std::min(count - done, RunLength(a, key + done));
    run.rows = static_cast<const char*>(k.data) +
               sequence_.KeyOffset(k.stride, key + done, kv_head_) * element;
    call_.kernels.decode_scores(run, scratch_.q + first_row * QueryBytes(), rows, scores + done,
                                stride_, maxima);
  }
}

/// Mask, rules and maxima of one row and step.
void DecodeUnit::FinishScores(const StepKeys& step, int32_t s, int32_t row) {
  const RowMask mask = Mask(s, row);
  if (!Any(mask)) return;
  float* scores = Scores(row, s);
  if (call_.adjusts_scores) AdjustScores(step, s, row);
  if (!(mask == BitRange(0, kStepKeys))) {
    call_.kernels.mask_row(scores, 0, kStepKeys, mask);
  }
  for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
    const ColumnRange columns = TileColumns(tile);
    if (!Any(mask & BitRange(columns.begin, columns.end))) continue;
    if (thinner_.Thins(step, columns.begin, columns.end, Query(row))) {
      ThinTile(step, s, row, columns);
    }
    call_.kernels.row_maxima(scores, stride_, 1, &columns, TileMax(s, tile) + row);
  }
}

void DecodeUnit::AdjustScores(const StepKeys& step, int32_t s, int32_t row) {
  const AttentionArguments& a = call_.arguments;
  const float* bias = nullptr;
  if (a.bias.data != nullptr) {
    const float* source = a.bias.data + b_ * a.bias.batch_stride + Head(row) * a.bias.head_stride +
                          Query(row) * a.bias.query_stride;
    for (int32_t c = 0; c < kStepKeys; ++c) {
      scratch_.bias[c] = c < step.count ? source[step.Key(c)] : 0.0f;
    }
    bias = scratch_.bias;
  }
  call_.kernels.adjust_row(Scores(row, s), 0, kStepKeys, call_.scale, a.softcap, bias);
}

void DecodeUnit::ThinTile(const StepKeys& step, int32_t s, int32_t row, const ColumnRange& tile) {
  const RowMask visible = Mask(s, row) & BitRange(tile.begin, tile.end);
  float* scores = Scores(row, s);
  const RowMask kept =
      thinner_.Thin(scores, step, tile.begin, tile.end, visible, thinner_.Dense(step, Query(row)));
  AddDrops(call_, b_, Head(row), {.pairs = Count(visible) - Count(kept)});
}

/// Weights are relative to the maximum of their split, so that they do not depend on scores still
/// to come; Merge levels them.
void DecodeUnit::Weigh(int32_t split) {
  std::fill_n(scratch_.running_max, rows_, kMinusInfinity);
  for (int32_t earlier = 0; skips_ && earlier < split; ++earlier) {
    const float* split_max = storage_.split_max + int64_t{earlier} * rows_;
    for (int32_t r = 0; r < rows_; ++r) {
      scratch_.running_max[r] = std::max(scratch_.running_max[r], split_max[r]);
    }
  }
  const float* base_max = storage_.split_max + int64_t{split} * rows_;
  float* sums = storage_.sums + int64_t{split} * rows_;
  float* outputs = storage_.outputs + int64_t{split} * rows_ * kMaxHeadDim;
  std::fill_n(sums, rows_, 0.0f);
  std::fill_n(outputs, int64_t{rows_} * kMaxHeadDim, 0.0f);
  const int32_t first = split * kSplitSteps;
  const int32_t last = std::min(steps_, first + kSplitSteps);
  const int32_t blocks_end = std::clamp(block_steps_, first, last);
  // Weights come step by step, since memory would idle while all are computed; only where skipping
  // may drop steps do all come first, so that nothing is fetched for those.
  ColumnRange columns[kSplitSteps];
  for (int32_t s = first; skips_ && s < blocks_end; ++s) {
    columns[s - first] = WeighStep(s, base_max, sums);
  }
  const auto weigh = [&](int32_t key, int32_t count) {
    const int32_t end = key + count;
    for (int32_t s = key / kStepKeys; s * kStepKeys < end; ++s) {
      const ColumnRange stays = skips_ ? columns[s - first] : WeighStep(s, base_max, sums);
      if (stays.begin >= stays.end) continue;
      const int32_t step_key = s * kStepKeys + stays.begin;
      const int32_t step_end = s * kStepKeys + stays.end;
      AddValues(step_key, step_end - step_key, end - step_end, 0, rows_, KeyScores(0, step_key),
                outputs);
    }
  };
  ForRuns(skips_ ? columns : storage_.visible + first, first, blocks_end, weigh);
  for (int32_t s = blocks_end; s < last; ++s) {
    AddGathered(s, WeighStep(s, base_max, sums), outputs);
  }
}

/// Weights of one step; returns the columns that some row weighs.
ColumnRange DecodeUnit::WeighStep(int32_t s, const float* base_max, float* sums) {
  const ColumnRange& visible = storage_.visible[s];
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
  float* scores = Scores(row, s);
  ColumnRange stays{kStepKeys, 0};
  for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
    const ColumnRange columns = TileColumns(tile);
    if (dropped[tile] || TileMax(s, tile)[row] == kMinusInfinity) {
      std::fill(scores + columns.begin, scores + columns.end, 0.0f);
      continue;
    }
    stays = {std::min(stays.begin, columns.begin), columns.end};
    if (call_.arguments.executed != nullptr) RecordExecuted(s, columns, row);
  }
  if (stays.begin < stays.end) {
    *sum += call_.kernels.decode_exponentials(scores + stays.begin, stays.end - stays.begin,
                                              call_.factor, base);
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

void DecodeUnit::AddGathered(int32_t s, const ColumnRange& columns, float* outputs) {
  if (columns.begin >= columns.end) return;
  for (int32_t first = 0, last = 0; first < rows_; first = last) {
    last = first + RowsAlike(first);
    const int32_t count = GatherColumns(first, s, scratch_.columns);
    for (int32_t c = columns.begin; c < std::min(columns.end, count); ++c) {
      AddValues(scratch_.columns[c], 1, 0, first, last - first, Scores(first, s) + c, outputs);
    }
  }
}

/// Values of `count` keys from `key` on, before `next` more. `weights`: of the first row and key.
void DecodeUnit::AddValues(int32_t key, int32_t count, int32_t next, int32_t first_row,
                           int32_t rows, const float* weights, float* outputs) {
  const AttentionArguments& a = call_.arguments;
  const ConstTensor& v = a.paged.page_size != 0 ? a.paged.v : a.v;
  const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
  RowsArguments run{.dtype = a.kv_dtype, .stride = v.stride.row * element, .dim = a.dim_v()};
  for (int32_t done = 0; done < count; done += run.count) {
    // Kernels may weigh keys two by two: always the same two, however rows are cut into runs.
    const bool alone = (key + done) % 2 != 0;
    const int32_t length = RunLength(a, key + done);
    run.count = alone ? 1 : std::min(count - done, length);
    run.next = std::min(count + next - done, length) - run.count;
    run.rows = static_cast<const char*>(v.data) +
               sequence_.KeyOffset(v.stride, key + done, kv_head_) * element;
    call_.kernels.decode_values(run, weights + done, stride_, rows,
                                outputs + int64_t{first_row} * kMaxHeadDim);
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
    FinishRow(call_, sequence_, Query(r), Head(r), output, base, sum, false);
  }
}

/// Columns of gathered step s of a row's index row.
int32_t DecodeUnit::GatherColumns(int32_t row, int32_t s, int32_t* keys) const {
  IndexRow index_row(call_.index, b_, Head(row), Query(row), sequence_.keys());
  for (int32_t skipped = block_steps_; skipped < s; ++skipped) {
    if (index_row.NextColumns(keys, kStepKeys) == 0) return 0;
  }
  return index_row.NextColumns(keys, kStepKeys);
}

/// The number of rows from `row` on that share its index row.
int32_t DecodeUnit::RowsAlike(int32_t row) const {
  const TileIndexShape& shape = call_.index->shape;
  const auto index_row = [&](int32_t r) {
    return shape.Row(b_, Head(r), Query(r) / shape.query_block);
  };
  int32_t last = row + 1;
  while (last < rows_ && index_row(last) == index_row(row)) ++last;
  return last - row;
}

}  // namespace tamis::cpu
