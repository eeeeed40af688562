#include "attention/cpu/decode_unit.h"

#include <algorithm>
#include <limits>

#include "attention/cpu/decode_runs.h"

namespace tamis::cpu {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
/// Rows of a unit where the group has fewer: more share each key that is read.
constexpr int32_t kUnitRows = 16;
/// Rows whose scores stay in L2 where a worker takes several splits at once.
constexpr int32_t kFewRows = 8;

}  // namespace

DecodeShape::DecodeShape(const Call& call) {
  const int32_t group = call.arguments.group();
  queries = std::clamp(kUnitRows / group, 1, std::max(1, call.arguments.query_tokens));
  rows = queries * group;
  element_bytes = call.kernels.element_bytes;
  const int64_t split_bytes = int64_t{kSplitKeys} * call.arguments.head_dim *
                              static_cast<int64_t>(SizeOf(call.arguments.kv_dtype));
  splits_at_once = rows > kFewRows ? 1
                                   : static_cast<int32_t>(std::clamp<int64_t>(
                                         kBytesAtOnce / split_bytes, 2, kMostSplitsAtOnce));
  tile_columns = call.tiles.columns;
  step_tiles = kStepKeys / tile_columns;
  scores_first = call.rule.skip_softmax.lambda != nullptr;
}

StepScores::StepScores(const DecodeShape& shape, int64_t steps, Carver& carver)
    : stride(steps * kStepKeys) {
  scores = carver.Take<float>(shape.rows * stride);
  tile_max = carver.Take<float>(steps * shape.step_tiles * shape.rows);
  visible = carver.Take<ColumnRange>(steps);
}

DecodeStorage::DecodeStorage(const DecodeShape& shape, int64_t steps, Carver& carver)
    : scored(shape, shape.scores_first ? steps : 0, carver) {
  const int64_t splits = SplitsOf(steps);
  split_max = carver.Take<float>(splits * shape.rows);
  sums = carver.Take<float>(splits * shape.rows);
  outputs = carver.Take<float>(splits * shape.rows * kMaxHeadDim);
}

DecodeScratch::DecodeScratch(const DecodeShape& shape, Carver& carver)
    : scored(shape, shape.scores_first ? 0 : shape.splits_at_once * kSplitSteps, carver) {
  weights = carver.Take<char>(int64_t{shape.rows} * kSplitKeys * shape.element_bytes);
  value_sums = carver.Take<float>(int64_t{shape.rows} * kMaxHeadDim);
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
      scored_(shape.scores_first ? storage.scored : scratch.scored),
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

void DecodeUnit::Score(int32_t first_split, int32_t splits) {
  if (!shape_.scores_first) first_step_ = first_split * kSplitSteps;
  LoadRows();
  const int32_t last = first_split + splits - 1;
  for (int32_t split = first_split; split <= last; ++split) {
    ScoreSplit(split, split == last && !shape_.scores_first);
  }
}

void DecodeUnit::ScoreSplit(int32_t split, bool values_follow) {
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
    const ColumnRange& visible = Visible(s);
    const bool is_plain =
        whole && !shape_.scores_first && !call_.adjusts_scores && !thinner_.active();
    plain[s - first] = is_plain ? visible : ColumnRange{0, 0};
    other[s - first] = is_plain ? ColumnRange{0, 0} : visible;
  }
  int32_t values_key = -1;  // the first key that is weighed, where that follows at once
  for (int32_t s = first_step_; values_follow && values_key < 0 && s < blocks_end; ++s) {
    if (Visible(s).begin < Visible(s).end) values_key = s * kStepKeys + Visible(s).begin;
  }
  ForRuns(plain, first, blocks_end, [&](int32_t key, int32_t count) {
    ScoreKeys(key, count, 0, rows_, KeyScores(0, key), split_max, values_key);
  });
  ForRuns(other, first, blocks_end, [&](int32_t key, int32_t count) {
    ScoreKeys(key, count, 0, rows_, KeyScores(0, key), scratch_.unmasked_max, values_key);
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
    Visible(s) = {0, kStepKeys};
    return true;
  }
  RowMask some = {}, all = whole;
  for (int32_t r = 0; r < rows_; ++r) {
    step.visited = IndexRow(call_.index, b_, Head(r), Query(r), sequence_.keys()).Visited(s);
    Mask(s, r) = visibility_.Bits(scratch_.spans[r], step, Query(r), Head(r));
    some = some | Mask(s, r);
    all = all & Mask(s, r);
  }
  Visible(s) = Any(some) ? ColumnRange{FirstBit(some), EndBit(some)} : ColumnRange{kStepKeys, 0};
  return all == whole;
}

/// A step of gathered columns: rows that share them are computed together.
void DecodeUnit::ScoreGathered(int32_t s) {
  ColumnRange& visible = Visible(s);
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
                  scratch_.unmasked_max, -1);
      }
    }
    for (int32_t r = first; r < last; ++r) FinishScores(step, s, r);
  }
}

/// Products of `rows` rows from `first_row` on with `count` keys from `key` on. `scores`: of the
/// first row and key; `maxima` are raised. `values_key`: the key whose value is read next; -1:
/// none.
void DecodeUnit::ScoreKeys(int32_t key, int32_t count, int32_t first_row, int32_t rows,
                           float* scores, float* maxima, int32_t values_key) {
  const AttentionArguments& a = call_.arguments;
  const ConstTensor& k = a.paged.page_size != 0 ? a.paged.k : a.k;
  const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
  RowsArguments run{.dtype = a.kv_dtype, .stride = k.stride.row * element, .dim = a.head_dim};
  run.ahead = FetchesFor(call_.decode_fetches, run.stride, run.dim * element).keys;
  for (int32_t done = 0; done < count; done += run.count) {
    run.count = std::min(count - done, RunLength(a, key + done));
    run.rows = static_cast<const char*>(k.data) +
               sequence_.KeyOffset(k.stride, key + done, kv_head_) * element;
    if (done + run.count == count && values_key >= 0) {
      const ConstTensor& v = a.paged.page_size != 0 ? a.paged.v : a.v;
      run.then = static_cast<const char*>(v.data) +
                 sequence_.KeyOffset(v.stride, values_key, kv_head_) * element;
      run.then_stride = v.stride.row * element;
    }
    call_.kernels.decode_scores(run, scratch_.q + first_row * QueryBytes(), rows, scores + done,
                                scored_.stride, maxima);
  }
}

/// Mask, rules and maxima of one row and step.
void DecodeUnit::FinishScores(const StepKeys& step, int32_t s, int32_t row) {
  const RowMask mask = Mask(s, row);
  if (!Any(mask)) return;
  float* scores = Scores(row, s);
  if (call_.adjusts_scores) AdjustScores(step, s, row);
  if (!(mask == BitRange(0, kStepKeys))) {
    const ColumnRange all{0, kStepKeys};
    call_.kernels.mask_rows(
        {.s = scores, .s_stride = scored_.stride, .rows = 1, .ranges = &all, .masks = &mask});
  }
  for (int32_t tile = 0; tile < shape_.step_tiles; ++tile) {
    const ColumnRange columns = TileColumns(tile);
    if (!Any(mask & BitRange(columns.begin, columns.end))) continue;
    call_.kernels.row_maxima(scores, scored_.stride, 1, &columns, TileMax(s, tile) + row);
    if (thinner_.Thins(step, columns.begin, columns.end, Query(row))) {
      ThinTile(step, s, row, columns);
    }
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
  RowMask kept = Mask(s, row) & BitRange(tile.begin, tile.end);
  const int32_t visible = Count(kept);
  const RowMask dense = thinner_.Dense(step, Query(row));
  thinner_.Thin(
      step, {.s = Scores(row, s), .rows = 1, .columns = tile, .masks = &kept, .always = &dense});
  AddDrops(call_, b_, Head(row), {.pairs = visible - Count(kept)});
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
