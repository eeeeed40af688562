// The rows of one KV head that a decode step works on together.
#ifndef TAMIS_ATTENTION_CPU_DECODE_UNIT_H_
#define TAMIS_ATTENTION_CPU_DECODE_UNIT_H_

#include <cstdint>

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"
#include "attention/cpu/index_row.h"
#include "attention/cpu/n_of_m.h"
#include "attention/cpu/visible.h"

namespace tamis::cpu {

/// Steps of one split. Fixed, so that results do not depend on the number of threads.
inline constexpr int32_t kSplitSteps = 16;
inline constexpr int32_t kSplitKeys = kSplitSteps * kStepKeys;
inline int32_t SplitsOf(int64_t steps) {
  return static_cast<int32_t>((steps + kSplitSteps - 1) / kSplitSteps);
}

/// Bytes of keys that a worker reads before their values, in whole splits: memory is read the
/// faster the longer it is read on.
inline constexpr int64_t kBytesAtOnce = int64_t{1} << 20;
inline constexpr int32_t kMostSplitsAtOnce = 4;

/// Shapes of decode units of one call.
struct DecodeShape {
  explicit DecodeShape(const Call& call);
  int32_t queries;  ///< query rows of a unit
  int32_t rows;     ///< queries * group: row = query * group + head of the group
  int32_t element_bytes;
  int32_t splits_at_once;  ///< at most
  int32_t step_tiles;      ///< skip-softmax tiles of a step
  int32_t tile_columns;
  /// Skip-softmax holds a tile to the maxima of all splits before it, so that every score must be
  /// known before the first weight. Else a split is weighed while its scores are in cache.
  bool scores_first;
};

/// What is known of some steps before they are weighed.
struct StepScores {
  StepScores(const DecodeShape& shape, int64_t steps, Carver& carver);
  int64_t stride;        // of scores, from row to row: steps * kStepKeys
  float* scores;         // [rows][stride]
  float* tile_max;       // [steps * step_tiles][rows]
  ColumnRange* visible;  // [steps]: columns that some row sees
};

/// Memory of one unit, for up to `steps` steps (blocks, then gathered columns).
struct DecodeStorage {
  DecodeStorage(const DecodeShape& shape, int64_t steps, Carver& carver);
  StepScores scored;  // where all scores come first
  float* split_max;   // [splits][rows]
  float* sums;        // [splits][rows]
  float* outputs;     // [splits][rows][kMaxHeadDim]
};

/// A worker's memory.
struct DecodeScratch {
  DecodeScratch(const DecodeShape& shape, Carver& carver);
  StepScores scored;    // of splits_at_once splits, where scores do not come first
  char* weights;        // [rows][kSplitKeys] elements of the kernels: of the split at hand
  float* value_sums;    // [rows][kMaxHeadDim] in the kernels' order
  char* q;              // [rows][kMaxHeadDim] elements of the kernels
  RowMask* masks;       // [kSplitSteps][rows]
  Span* spans;          // [rows]
  float* running_max;   // [rows]
  float* unmasked_max;  // [rows]: what kernels find before masks; nothing reads it
  float* bias;          // [kStepKeys]
  int32_t* columns;     // [kStepKeys]
};

/// One unit, in three parts: Score and Weigh once per split (any order, any thread, up to
/// splits_at_once consecutive ones together; where scores come first, all of them before any
/// weight, else one after the other in the same DecodeUnit), then Merge.
class DecodeUnit {
 public:
  DecodeUnit(const Call& call, const DecodeShape& shape, int32_t b, int32_t kv_head,
             int32_t first_query, int32_t steps, const DecodeStorage& storage,
             DecodeScratch& scratch);

  static int32_t BlockSteps(const SequenceView& sequence) {
    return (sequence.keys() + kStepKeys - 1) / kStepKeys;
  }
  /// Steps of gathered columns that the rows of a unit need at most.
  static int32_t ColumnSteps(const Call& call, const DecodeShape& shape, int32_t b, int32_t kv_head,
                             int32_t first_query);

  void Score(int32_t first_split, int32_t splits);
  void Weigh(int32_t first_split, int32_t splits);
  void Merge();

 private:
  int32_t Query(int32_t row) const { return first_query_ + row / group_; }
  int32_t Head(int32_t row) const { return kv_head_ * group_ + row % group_; }
  /// Of a row, from a step's first column, or a key, on.
  float* Scores(int32_t row, int32_t s) const { return KeyScores(row, int64_t{s} * kStepKeys); }
  float* KeyScores(int32_t row, int64_t key) const {
    return scored_.scores + row * scored_.stride + (key - int64_t{first_step_} * kStepKeys);
  }
  /// Of a row, from a key of the split at hand on.
  char* Weights(int32_t row, int64_t key) const {
    return scratch_.weights + (int64_t{row} * kSplitKeys + key % kSplitKeys) * shape_.element_bytes;
  }
  float* TileMax(int32_t s, int32_t tile) const {
    return scored_.tile_max + (int64_t{s - first_step_} * shape_.step_tiles + tile) * rows_;
  }
  ColumnRange& Visible(int32_t s) const { return scored_.visible[s - first_step_]; }
  int64_t QueryBytes() const { return int64_t{kMaxHeadDim} * shape_.element_bytes; }
  ColumnRange TileColumns(int32_t tile) const {
    return {tile * shape_.tile_columns, (tile + 1) * shape_.tile_columns};
  }
  /// Visible bits of a row in a step of the split at hand.
  RowMask& Mask(int32_t s, int32_t row) const {
    return scratch_.masks[s % kSplitSteps * rows_ + row];
  }
  void LoadRows();
  void ScoreSplit(int32_t split, bool values_follow);
  void WeighSplit(int32_t split);
  bool FindMasks(int32_t s);
  void ScoreGathered(int32_t s);
  void ScoreKeys(int32_t key, int32_t count, int32_t first_row, int32_t rows, float* scores,
                 float* maxima, int32_t values_key);
  StepKeys BlockStep(int32_t s) const;
  void FinishScores(const StepKeys& step, int32_t s, int32_t row);
  void ThinTile(const StepKeys& step, int32_t s, int32_t row, const ColumnRange& tile);
  void AdjustScores(const StepKeys& step, int32_t s, int32_t row);
  void WeighAll(int32_t first, int32_t last, const float* base_max, float* sums,
                ColumnRange* columns);
  ColumnRange WeighStep(int32_t s, const float* base_max, float* sums);
  ColumnRange WeighRow(int32_t s, int32_t row, const bool* dropped, float base, float* sum);
  bool Skips(const float* maxima, int32_t query) const;
  void DropQuery(int32_t s, int32_t tile, int32_t query);
  void RecordExecuted(int32_t s, const ColumnRange& tile, int32_t row);
  void AddGathered(int32_t s, const ColumnRange& columns);
  void AddValues(int32_t key, int32_t count, int32_t first_row, int32_t rows, const char* weights);
  int32_t GatherColumns(int32_t row, int32_t s, int32_t* keys) const;
  int32_t RowsAlike(int32_t row) const;

  const Call& call_;
  const DecodeShape& shape_;
  const DecodeStorage& storage_;
  DecodeScratch& scratch_;
  SequenceView sequence_;
  Visibility visibility_;
  Thinner thinner_;
  int32_t b_, kv_head_, first_query_;
  int32_t group_;
  int32_t rows_;
  int32_t block_steps_;  // steps of key blocks; those after them hold gathered columns
  int32_t steps_;
  // Every row sees keys [seen_begin_, seen_end_), but for what index and pair masks hide.
  int32_t seen_begin_ = 0, seen_end_ = INT32_MAX;
  const StepScores& scored_;  // of step first_step_ on
  int32_t first_step_ = 0;
  float threshold_ = 0.0f;  // set with skips_, so declared before it
  bool skips_;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_DECODE_UNIT_H_
