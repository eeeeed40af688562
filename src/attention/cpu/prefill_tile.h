// One tile row of prefill: up to 128 queries of one head over all the keys they visit.
#ifndef TAMIS_ATTENTION_CPU_PREFILL_TILE_H_
#define TAMIS_ATTENTION_CPU_PREFILL_TILE_H_

#include <cstdint>

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"
#include "attention/cpu/index_row.h"
#include "attention/cpu/n_of_m.h"
#include "attention/cpu/prefill_pipeline.h"
#include "attention/cpu/visible.h"

namespace tamis::cpu {

/// Packed K and V of one KV head of one sequence, [steps][bytes of a step].
struct PackedHead {
  const char* keys;
  const char* values;
};

/// A worker's memory.
struct PrefillScratch {
  PrefillScratch(const Call& call, Carver& carver);
  PipelineScratch pipeline;
  float* tile_max[2];  // [kMaxTileRows]
  RowMask* masks;      // [kMaxTileRows]
  RowMask* dense;      // [kMaxTileRows]: what N:M keeps in any case
  Span* spans;         // [kMaxTileRows]
  float* bias;         // [kStepKeys]
  int32_t* columns;    // [kStepKeys]
  char* column_keys;   // a packed step of gathered columns, K and V
  char* column_values;
};

class PrefillTile {
 public:
  /// Queries [first_query, first_query + tile rows) of `head` of sequence `b`, clipped to its end.
  /// `next`: the tile row that runs after it in this scratch.
  /// `fast`: Kernels::weigh and run_steps may be used.
  PrefillTile(const Call& call, const PackedSizes& sizes, const PackedHead& packed,
              PrefillScratch& scratch, int32_t b, int32_t head, int32_t first_query,
              const NextTileRow& next, bool fast);
  /// False, and nothing is stored, where the fast ways found numbers that are not for them.
  [[nodiscard]] bool Run();

 private:
  /// Whole steps: those that all rows see whole, where they run together.
  enum class StepKind : uint8_t { kWhole, kOther };

  /// Tiles of a step: one, or two of 64 columns.
  struct Tiles {
    int32_t count;
    ColumnRange columns[2];
    bool dropped[2];
  };

  void Start();
  /// `next_keys`: packed keys of the step after this one, or null.
  void RunStep(const StepKeys& step, const void* keys, const void* values, const void* next_keys);
  StepKeys NextStep(int32_t first, StepKind kind);
  PackedStep PackedOf(const StepKeys& step) const;
  void RunStepAlone(const StepKeys& step, const StepKeys& next);
  bool IsPlain() const;
  bool CanRunWholeSteps() const;
  bool IsWhole(const StepKeys& step) const;
  bool RunWholeSteps();
  void RunOtherStep(const StepKeys& step, const StepKeys& next);
  bool Weigh(const PackedStep& step, const void* next_keys);
  void RecordWeighed(const StepKeys& step);
  bool RunStepsFrom(StepKeys step);
  bool EveryRowHasScores();
  bool RunSteps(const PackedStep* steps, int32_t count);
  bool RunColumns();
  bool MaskStep(const StepKeys& step, const ColumnRange& columns);
  void AdjustScores(const StepKeys& step);
  void ApplyMasks(bool wants_maxima);
  void FindMaxima(const ColumnRange* ranges, float* maxima) const;
  void ThinTiles(const StepKeys& step, const Tiles& tiles);
  void ThinTile(const StepKeys& step, const ColumnRange& tile);
  void DropTiles(Tiles& tiles);
  bool Skips(const float* maxima, const float* running) const;
  void RecordExecuted(const StepKeys& step, const Tiles& tiles) const;
  bool BasesHold();
  void Finish();
  /// Whether `weigh` is asked what N:M keeps.
  bool counts_kept() const { return thinner_.active() && call_.counts_drops; }
  int32_t row_blocks() const { return (rows_ + kRowBlock - 1) / kRowBlock; }

  const Call& call_;
  const PackedSizes& sizes_;
  const PackedHead& packed_;
  PrefillScratch& scratch_;
  SequenceView sequence_;
  Visibility visibility_;
  Thinner thinner_;
  IndexRow index_row_;
  int32_t b_, head_, first_query_;
  int32_t rows_;
  float threshold_ = 0.0f;  // set with skips_, so declared before it
  bool skips_;
  bool whole_steps_;  // steps that all rows see whole run together, by run_steps
  bool weighs_;       // steps are weighed by `weigh` where rows have bases
  // All have from the start: of a score of 0, which weighs nothing. Else each needs its maxima
  // first.
  bool from_zero_;
  bool votes_on_weights_;  // of skip-softmax, where the step before stayed
  bool every_row_has_scores_ = false;
  // Keys that some row sees lie below sink_end_ or in [begin_, end_).
  int32_t sink_end_ = 0, begin_ = 0, end_ = 0;
  bool masked_ = false;  // the current step needs its masks
  // Rows that some step so far has a key for, and those that BasesHold has seen.
  RowMask seeing_rows_ = {}, checked_rows_ = {};
  bool dropped_last_ = false;  // the step before was
  PrefillPipeline pipeline_;
  Drops drops_;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_PREFILL_TILE_H_
