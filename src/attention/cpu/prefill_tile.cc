#include "attention/cpu/prefill_tile.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace tamis::cpu {
namespace {

/// What the weights of a row must come to that is held to a base of 0, whatever its maximum: far
/// from where they, or their products with values, are too small for fp32.
constexpr float kSmallestTotal = 0x1p-20f;

constexpr ColumnRange kWholeStep{0, kStepKeys};

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

ColumnRange Clip(const ColumnRange& range, const ColumnRange& tile) {
  const ColumnRange clipped{std::max(range.begin, tile.begin), std::min(range.end, tile.end)};
  return clipped.begin < clipped.end ? clipped : ColumnRange{0, 0};
}

}  // namespace

PrefillScratch::PrefillScratch(const Call& call, Carver& carver) : pipeline(call, carver) {
  const PackedSizes sizes(call);
  const int64_t rows = kMaxTileRows;
  tile_max[0] = carver.Take<float>(rows);
  tile_max[1] = carver.Take<float>(rows);
  masks = carver.Take<RowMask>(rows);
  dense = carver.Take<RowMask>(rows);
  spans = carver.Take<Span>(rows);
  bias = carver.Take<float>(kStepKeys);
  columns = carver.Take<int32_t>(kStepKeys);
  column_keys = carver.Take<char>(sizes.key_step_bytes);
  column_values = carver.Take<char>(sizes.value_step_bytes);
}

PrefillTile::PrefillTile(const Call& call, const PackedSizes& sizes, const PackedHead& packed,
                         PrefillScratch& scratch, int32_t b, int32_t head, int32_t first_query,
                         const NextTileRow& next, bool fast)
    : call_(call),
      sizes_(sizes),
      packed_(packed),
      scratch_(scratch),
      sequence_(call.arguments, b),
      visibility_(call, sequence_, b),
      thinner_(call, sequence_, visibility_),
      index_row_(call.index, b, head, first_query, sequence_.keys()),
      b_(b),
      head_(head),
      first_query_(first_query),
      rows_(std::min(call.tiles.rows, sequence_.queries() - first_query)),
      skips_(SkipThreshold(call, b, &threshold_)),
      whole_steps_(fast && call.kernels.run_steps != nullptr && !skips_ && CanRunWholeSteps()),
      weighs_(call.kernels.weigh != nullptr && !skips_ && IsPlain()),
      from_zero_(fast && weighs_),
      votes_on_weights_(skips_ && call.kernels.weigh != nullptr && IsPlain() &&
                        call.tiles.columns == kStepKeys),
      pipeline_(call, sizes, scratch.pipeline, row_blocks(),
                QueryRowsOf(call, sequence_, first_query, rows_, head), next) {}

bool PrefillTile::Run() {
  Start();
  if (!weighs_) pipeline_.FetchNextQueries();
  for (StepKeys step = NextStep(0, StepKind::kOther); step.count > 0;) {
    StepKeys next = NextStep(step.first + kStepKeys, StepKind::kOther);
    RunOtherStep(step, next.count > 0 ? next : NextStep(0, StepKind::kWhole));
    if (!BasesHold()) return false;
    step = next;
  }
  if (index_row_.has_columns() && !RunColumns()) return false;
  if (whole_steps_ && !RunWholeSteps()) return false;
  Finish();
  AddDrops(call_, b_, head_, drops_);
  return true;
}

PackedStep PrefillTile::PackedOf(const StepKeys& step) const {
  const int64_t s = step.first / kStepKeys;
  return {packed_.keys + s * sizes_.key_step_bytes, packed_.values + s * sizes_.value_step_bytes};
}

void PrefillTile::RunStepAlone(const StepKeys& step, const StepKeys& next) {
  const PackedStep packed = PackedOf(step);
  RunStep(step, packed.keys, packed.values, next.count > 0 ? PackedOf(next).keys : nullptr);
}

/// Where skip-softmax lets a step stay, the next one probably stays too: it is weighed while its
/// maxima are found. After a dropped one, maxima come first and weights only where it stays.
void PrefillTile::RunOtherStep(const StepKeys& step, const StepKeys& next) {
  if (!votes_on_weights_ || dropped_last_ || !IsWhole(step) || !EveryRowHasScores()) {
    return RunStepAlone(step, next);
  }
  MaskStep(step, kWholeStep);
  if (!Weigh(PackedOf(step), next.count > 0 ? PackedOf(next).keys : nullptr)) {
    return RunStepAlone(step, next);
  }
  float* running_max = scratch_.pipeline.running_max;
  const float* step_max = scratch_.pipeline.step_max;
  if (!Skips(step_max, running_max)) {
    for (int32_t r = 0; r < rows_; ++r) running_max[r] = std::max(running_max[r], step_max[r]);
    return RecordWeighed(step);
  }
  pipeline_.Unweigh();
  dropped_last_ = true;
  ++drops_.tiles;
  drops_.pairs += int64_t{rows_} * kStepKeys;
}

/// No pass over scores but the rule's.
bool PrefillTile::IsPlain() const { return !call_.adjusts_scores && !call_.has_pair_mask; }

/// Of N:M, run_steps knows only what nobody counts; LSE needs sums of weights that are not rounded.
bool PrefillTile::CanRunWholeSteps() const {
  const AttentionArguments& a = call_.arguments;
  return IsPlain() && a.lse == nullptr && (!thinner_.active() || !call_.counts_drops) &&
         a.head_dim == a.dim_v() && (a.head_dim == 64 || a.head_dim == 128) &&
         rows_ % kStepsRows == 0;
}

/// Whether all rows see all of the step, and the rule is what `weigh` and `run_steps` know.
bool PrefillTile::IsWhole(const StepKeys& step) const {
  if (step.count < kStepKeys || !(step.visited == BitRange(0, kStepKeys)) ||
      !scratch_.spans[0].Covers(step.first, step.first + kStepKeys) ||
      !scratch_.spans[rows_ - 1].Covers(step.first, step.first + kStepKeys)) {
    return false;
  }
  if (!thinner_.active()) return true;
  for (int32_t begin = 0; begin < kStepKeys; begin += call_.tiles.columns) {
    if (!thinner_.Thins(step, begin, begin + call_.tiles.columns, first_query_)) return false;
  }
  return thinner_.IsPlainTwoOfFour(step, first_query_);
}

/// The whole steps, after all others: these leave every row a base to start from. Where a row has
/// none, steps run alone until it has.
bool PrefillTile::RunWholeSteps() {
  StepKeys step = NextStep(0, StepKind::kWhole);
  while (step.count > 0 && !EveryRowHasScores()) {
    const StepKeys next = NextStep(step.first + kStepKeys, StepKind::kWhole);
    RunStepAlone(step, next);
    step = next;
  }
  return RunStepsFrom(step);
}

/// Weighs a step against the bases that rows have; false where these must move first.
bool PrefillTile::Weigh(const PackedStep& step, const void* next_keys) {
  const bool whole = !masked_ && pipeline_.now().ranges[0] == kWholeStep;
  if (pipeline_.Weigh(step, next_keys,
                      {.masks = whole ? nullptr : scratch_.masks,
                       .two_of_four = thinner_.active(),
                       .kept = counts_kept() ? scratch_.masks : nullptr,
                       .wants_maxima = skips_})) {
    return true;
  }
  // What was kept so far of a whole step.
  if (counts_kept()) std::fill_n(scratch_.masks, rows_, BitRange(0, kStepKeys));
  return false;
}

/// Counts what a weighed step keeps.
void PrefillTile::RecordWeighed(const StepKeys& step) {
  for (int32_t r = 0; counts_kept() && r < rows_; ++r) {
    drops_.pairs += kStepKeys - Count(scratch_.masks[r]);
  }
  if (call_.arguments.executed == nullptr) return;
  for (int32_t r = 0; r < rows_; ++r) {
    WriteExecuted(call_, step, b_, head_, first_query_ + r, scratch_.masks[r]);
  }
}

/// Whole steps from `step` on, by Kernels::run_steps.
bool PrefillTile::RunStepsFrom(StepKeys step) {
  constexpr int32_t kMostSteps = 64;
  PackedStep steps[kMostSteps];
  if (step.count > 0) pipeline_.Drain();
  while (step.count > 0) {
    int32_t count = 0;
    for (; step.count > 0 && count < kMostSteps; ++count) {
      for (int32_t r = 0; call_.arguments.executed != nullptr && r < rows_; ++r) {
        WriteExecuted(call_, step, b_, head_, first_query_ + r, step.visited);
      }
      steps[count] = PackedOf(step);
      step = NextStep(step.first + kStepKeys, StepKind::kWhole);
    }
    if (!RunSteps(steps, count)) return false;
  }
  return true;
}

bool PrefillTile::EveryRowHasScores() {
  const float* running_max = scratch_.pipeline.running_max;
  every_row_has_scores_ =
      every_row_has_scores_ || std::all_of(running_max, running_max + rows_,
                                           [](float maximum) { return maximum > kMinusInfinity; });
  return every_row_has_scores_;
}

bool PrefillTile::RunSteps(const PackedStep* steps, int32_t count) {
  return call_.kernels.run_steps({.q = scratch_.pipeline.q,
                                  .head_dim = call_.arguments.head_dim,
                                  .row_groups = rows_ / kStepsRows,
                                  .steps = steps,
                                  .step_count = count,
                                  .two_of_four = thinner_.active(),
                                  .factor = call_.factor,
                                  .bases = scratch_.pipeline.bases,
                                  .sums = scratch_.pipeline.sums,
                                  .o = scratch_.pipeline.o,
                                  .scratch = scratch_.pipeline.s[0]});
}

/// The first visited step of a kind at or after key `first` (a multiple of kStepKeys); no keys
/// where there is none. Where whole steps do not run together, all are of the other kind.
StepKeys PrefillTile::NextStep(int32_t first, StepKind kind) {
  if (kind == StepKind::kWhole && !whole_steps_) return {};
  const int32_t end = std::max(end_, sink_end_);
  for (; first < end; first += kStepKeys) {
    first = index_row_.NextVisited(first / kStepKeys) * kStepKeys;
    if (first >= end) break;
    // Between the sinks and the windows of all rows there is nothing to see.
    if (first >= sink_end_ && first + kStepKeys <= begin_) {
      if (begin_ >= end_) break;
      first = begin_ / kStepKeys * kStepKeys;
    }
    const StepKeys step{.first = first,
                        .count = std::min(kStepKeys, sequence_.keys() - first),
                        .visited = index_row_.Visited(first / kStepKeys)};
    if (!Any(step.visited)) continue;
    if (!whole_steps_ || IsWhole(step) == (kind == StepKind::kWhole)) return step;
  }
  return {};
}

void PrefillTile::Start() {
  const int32_t padded_rows = row_blocks() * kRowBlock;
  const int64_t row_bytes = int64_t{call_.arguments.head_dim} * call_.kernels.element_bytes;
  for (int32_t r = 0; r < rows_; ++r) scratch_.spans[r] = visibility_.SpanOf(first_query_ + r);
  std::memset(scratch_.pipeline.q + rows_ * row_bytes, 0,
              static_cast<size_t>((padded_rows - rows_) * row_bytes));
  std::fill_n(scratch_.pipeline.running_max, padded_rows, from_zero_ ? 0.0f : kMinusInfinity);
  std::fill_n(scratch_.pipeline.bases, padded_rows, 0.0f);
  std::fill_n(scratch_.pipeline.sums, padded_rows * kSumLanes, 0.0f);
  begin_ = std::numeric_limits<int32_t>::max();
  for (int32_t r = 0; r < rows_; ++r) {
    const Span& span = scratch_.spans[r];
    sink_end_ = std::max(sink_end_, span.sink_end);
    if (span.begin < span.end) begin_ = std::min(begin_, span.begin);
    end_ = std::max(end_, span.end);
  }
}

bool PrefillTile::RunColumns() {
  const AttentionArguments& a = call_.arguments;
  const ConstTensor& k = a.paged.page_size != 0 ? a.paged.k : a.k;
  const ConstTensor& v = a.paged.page_size != 0 ? a.paged.v : a.v;
  const int32_t kv_head = head_ / a.group();
  const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
  while (true) {
    const int32_t count = index_row_.NextColumns(scratch_.columns, kStepKeys);
    if (count == 0) return true;
    pipeline_.Drain();  // these columns take the place of the last ones
    PackArguments pack{.dtype = a.kv_dtype, .count = 1};
    for (int32_t i = 0; i < count; ++i) {
      const int32_t key = scratch_.columns[i];
      pack.first = i;
      pack.rows =
          static_cast<const char*>(k.data) + sequence_.KeyOffset(k.stride, key, kv_head) * element;
      pack.dim = a.head_dim;
      pack.step = scratch_.column_keys;
      call_.kernels.pack_keys(pack);
      pack.rows =
          static_cast<const char*>(v.data) + sequence_.KeyOffset(v.stride, key, kv_head) * element;
      pack.dim = a.dim_v();
      pack.step = scratch_.column_values;
      call_.kernels.pack_values(pack);
    }
    if (count < kStepKeys) {
      PackArguments zeros{.rows = nullptr, .count = kStepKeys - count, .first = count};
      zeros.dim = a.head_dim;
      zeros.step = scratch_.column_keys;
      call_.kernels.pack_keys(zeros);
      zeros.dim = a.dim_v();
      zeros.step = scratch_.column_values;
      call_.kernels.pack_values(zeros);
    }
    RunStep({.count = count, .gathered = scratch_.columns, .visited = BitRange(0, count)},
            scratch_.column_keys, scratch_.column_values, nullptr);
    if (!BasesHold()) return false;
  }
}

void PrefillTile::RunStep(const StepKeys& step, const void* keys, const void* values,
                          const void* next_keys) {
  Tiles tiles = {};
  for (int32_t begin = 0; begin < step.count; begin += call_.tiles.columns) {
    const ColumnRange columns{begin, begin + call_.tiles.columns};
    if (!Any(step.visited & BitRange(columns.begin, columns.end))) continue;
    tiles.columns[tiles.count++] = columns;
  }
  if (!MaskStep(step, {tiles.columns[0].begin, tiles.columns[tiles.count - 1].end})) return;
  if (weighs_ && (from_zero_ || EveryRowHasScores()) && (!thinner_.active() || IsWhole(step)) &&
      Weigh({keys, values}, next_keys)) {
    return RecordWeighed(step);
  }
  // DropTiles finds the maxima of two tiles one by one.
  const bool wants_maxima = !skips_ || tiles.count == 1;
  const bool final = !masked_ && !call_.adjusts_scores;
  pipeline_.Score(keys, values, next_keys, wants_maxima && final, dropped_last_);
  if (call_.adjusts_scores) AdjustScores(step);
  // N:M keeps each row's largest score, so that it may follow.
  if (masked_) {
    ApplyMasks(wants_maxima);
  } else if (wants_maxima && !final) {
    FindMaxima(pipeline_.now().ranges, scratch_.pipeline.step_max);
  }
  ThinTiles(step, tiles);
  if (skips_) DropTiles(tiles);
  if (call_.arguments.executed != nullptr) RecordExecuted(step, tiles);
  dropped_last_ = std::all_of(tiles.dropped, tiles.dropped + tiles.count, [](bool d) { return d; });
  if (!dropped_last_) pipeline_.Push();
}

/// Sets the stage's ranges and, where a row does not see all of `columns`, the masks. False where
/// no row sees any.
bool PrefillTile::MaskStep(const StepKeys& step, const ColumnRange& columns) {
  Stage& stage = pipeline_.now();
  const RowMask all = BitRange(columns.begin, columns.end);
  const bool whole = step.count == kStepKeys && (step.visited & all) == all;
  const int32_t first_key = step.Key(std::min(columns.begin, step.count - 1));
  const int32_t last_key = step.Key(std::min(columns.end, step.count) - 1) + 1;
  masked_ = !(whole && !call_.has_pair_mask && scratch_.spans[0].Covers(first_key, last_key) &&
              scratch_.spans[rows_ - 1].Covers(first_key, last_key));
  if (!masked_) {
    std::fill_n(stage.ranges, row_blocks(), columns);
    std::fill_n(stage.seen, row_blocks(), columns);
    // What rules, the executed mask and weighing of parts of a step start from.
    if (thinner_.active() || call_.arguments.executed != nullptr || !(columns == kWholeStep)) {
      std::fill_n(scratch_.masks, row_blocks() * kRowBlock, all);
    }
    seeing_rows_ = BitRange(0, rows_);
    return true;
  }
  RowMask seeing = {};
  for (int32_t block = 0; block < row_blocks(); ++block) {
    RowMask together = {};
    for (int32_t r = block * kRowBlock; r < (block + 1) * kRowBlock; ++r) {
      const RowMask mask = r < rows_
                               ? visibility_.Bits(scratch_.spans[r], step, first_query_ + r, head_)
                               : RowMask{};
      scratch_.masks[r] = mask;
      seeing.bits[r / 64] |= uint64_t{Any(mask)} << (r % 64);
      together = together | mask;
    }
    stage.ranges[block] = stage.seen[block] = {0, 0};
    if (!Any(together)) continue;
    stage.seen[block] = {FirstBit(together) / 8 * 8, (EndBit(together) + 7) / 8 * 8};
    stage.ranges[block] = {FirstBit(together) / kSumLanes * kSumLanes,
                           (EndBit(together) + kSumLanes - 1) / kSumLanes * kSumLanes};
  }
  seeing_rows_ = seeing_rows_ | seeing;
  return Any(seeing);
}

void PrefillTile::AdjustScores(const StepKeys& step) {
  const Stage& stage = pipeline_.now();
  const AttentionArguments& a = call_.arguments;
  const AttentionBias& bias = a.bias;
  for (int32_t r = 0; r < rows_; ++r) {
    const ColumnRange range = stage.ranges[r / kRowBlock];
    if (range.begin >= range.end) continue;
    if (bias.data != nullptr) {
      const float* row = bias.data + b_ * bias.batch_stride + head_ * bias.head_stride +
                         (first_query_ + r) * bias.query_stride;
      for (int32_t c = range.begin; c < range.end; ++c) {
        scratch_.bias[c] = c < step.count ? row[step.Key(c)] : 0.0f;
      }
    }
    call_.kernels.adjust_row(stage.s + r * kStepKeys, range.begin, range.end, call_.scale,
                             a.softcap, bias.data == nullptr ? nullptr : scratch_.bias);
  }
}

void PrefillTile::ApplyMasks(bool wants_maxima) {
  const Stage& stage = pipeline_.now();
  call_.kernels.mask_rows({.s = stage.s,
                           .s_stride = kStepKeys,
                           .rows = row_blocks() * kRowBlock,
                           .ranges = stage.ranges,
                           .masks = scratch_.masks,
                           .maxima = wants_maxima ? scratch_.pipeline.step_max : nullptr});
}

void PrefillTile::FindMaxima(const ColumnRange* ranges, float* maxima) const {
  call_.kernels.row_maxima(pipeline_.now().s, kStepKeys, row_blocks() * kRowBlock, ranges, maxima);
}

/// N:M. Where nothing but the rule decides and nobody asks what it kept, softmax applies it as it
/// reads the scores.
void PrefillTile::ThinTiles(const StepKeys& step, const Tiles& tiles) {
  Stage& stage = pipeline_.now();
  stage.two_of_four = false;
  if (!thinner_.active()) return;
  bool thins[2];
  int32_t thinned = 0;
  for (int32_t t = 0; t < tiles.count; ++t) {
    thins[t] = thinner_.Thins(step, tiles.columns[t].begin, tiles.columns[t].end, first_query_);
    thinned += thins[t] ? 1 : 0;
  }
  if (thinned == tiles.count && !masked_ && !call_.counts_drops &&
      thinner_.IsPlainTwoOfFour(step, first_query_)) {
    stage.two_of_four = true;
    return;
  }
  for (int32_t t = 0; t < tiles.count; ++t) {
    if (thins[t]) ThinTile(step, tiles.columns[t]);
  }
}

void PrefillTile::ThinTile(const StepKeys& step, const ColumnRange& tile) {
  const bool has_dense = thinner_.HasDense(step, first_query_);
  for (int32_t r = 0; has_dense && r < rows_; ++r) {
    scratch_.dense[r] = thinner_.Dense(step, first_query_ + r);
  }
  const auto pairs = [&] {
    int64_t sum = 0;
    for (int32_t r = 0; r < rows_; ++r) sum += Count(scratch_.masks[r]);
    return sum;
  };
  if (call_.counts_drops) drops_.pairs += pairs();
  thinner_.Thin(step, {.s = pipeline_.now().s,
                       .s_stride = kStepKeys,
                       .rows = rows_,
                       .columns = tile,
                       .masks = scratch_.masks,
                       .always = has_dense ? scratch_.dense : nullptr});
  if (call_.counts_drops) drops_.pairs -= pairs();
}

/// The skip test, tile by tile: a tile that stays raises the running maximum that the next one is
/// held to. Leaves the columns of what stays in the stage's ranges and its maxima in step_max.
void PrefillTile::DropTiles(Tiles& tiles) {
  Stage& stage = pipeline_.now();
  const int32_t padded_rows = row_blocks() * kRowBlock;
  ColumnRange clipped[kMaxRowBlocks];
  float running[kMaxTileRows];
  std::copy_n(scratch_.pipeline.running_max, padded_rows, running);
  float* step_max = scratch_.pipeline.step_max;
  if (tiles.count > 1) std::fill_n(step_max, padded_rows, kMinusInfinity);
  int32_t stay_begin = kStepKeys, stay_end = 0;
  for (int32_t t = 0; t < tiles.count; ++t) {
    const float* maxima = step_max;  // the step's, where it is one tile
    if (tiles.count > 1) {
      for (int32_t i = 0; i < row_blocks(); ++i) {
        clipped[i] = Clip(stage.ranges[i], tiles.columns[t]);
      }
      FindMaxima(clipped, scratch_.tile_max[t]);
      maxima = scratch_.tile_max[t];
    }
    tiles.dropped[t] = Skips(maxima, running);
    if (tiles.dropped[t]) {
      ++drops_.tiles;
      if (call_.arguments.counts == nullptr) continue;
      const RowMask in_tile = BitRange(tiles.columns[t].begin, tiles.columns[t].end);
      for (int32_t r = 0; r < rows_; ++r) {
        drops_.pairs += masked_ || thinner_.active()
                            ? Count(scratch_.masks[r] & in_tile)
                            : tiles.columns[t].end - tiles.columns[t].begin;
      }
      continue;
    }
    stay_begin = std::min(stay_begin, tiles.columns[t].begin);
    stay_end = std::max(stay_end, tiles.columns[t].end);
    for (int32_t r = 0; r < padded_rows; ++r) {
      step_max[r] = std::max(step_max[r], maxima[r]);
      running[r] = std::max(running[r], maxima[r]);
    }
  }
  for (int32_t i = 0; i < row_blocks(); ++i) {
    stage.ranges[i] = Clip(stage.ranges[i], {stay_begin, stay_end});
    stage.seen[i] = Clip(stage.seen[i], {stay_begin, stay_end});
  }
}

bool PrefillTile::Skips(const float* maxima, const float* running) const {
  bool any_vote = false;
  for (int32_t r = 0; r < rows_; ++r) {
    if (maxima[r] == kMinusInfinity) continue;
    any_vote = true;
    if (!(maxima[r] < running[r] + threshold_)) return false;
  }
  return any_vote;
}

void PrefillTile::RecordExecuted(const StepKeys& step, const Tiles& tiles) const {
  RowMask stays = {};
  for (int32_t t = 0; t < tiles.count; ++t) {
    if (!tiles.dropped[t]) {
      stays = stays | BitRange(tiles.columns[t].begin, tiles.columns[t].end);
    }
  }
  for (int32_t r = 0; r < rows_; ++r) {
    WriteExecuted(call_, step, b_, head_, first_query_ + r, scratch_.masks[r] & stays);
  }
}

/// Where rows started from a score of 0: whether all that have seen a key weigh enough. Each is
/// looked at after its first step, as weights only grow.
bool PrefillTile::BasesHold() {
  const RowMask unchecked = seeing_rows_ & ~checked_rows_;
  if (!from_zero_ || !Any(unchecked)) return true;
  float totals[kMaxTileRows];
  call_.kernels.row_totals(scratch_.pipeline.sums, rows_, totals);
  for (int32_t r = 0; r < rows_; ++r) {
    if ((unchecked.bits[r / 64] >> (r % 64) & 1) != 0 && totals[r] < kSmallestTotal) return false;
  }
  checked_rows_ = seeing_rows_;
  return true;
}

void PrefillTile::Finish() {
  pipeline_.DrainSoftmax();
  float scales[kMaxTileRows];
  call_.kernels.row_totals(scratch_.pipeline.sums, rows_, scales);
  for (int32_t r = 0; r < rows_; ++r) {
    const float base = scratch_.pipeline.bases[r];
    scales[r] = FinishSum(call_, sequence_, first_query_ + r, head_, base, scales[r]);
  }
  OutputRows output = OutputRowsOf(call_, sequence_, first_query_, rows_, head_, scales);
  output.stream = call_.streams_output;
  pipeline_.Finish(output);
}

}  // namespace tamis::cpu
