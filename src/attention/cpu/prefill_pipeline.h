// The steps of a tile row on their way through scores, softmax and values.
#ifndef TAMIS_ATTENTION_CPU_PREFILL_PIPELINE_H_
#define TAMIS_ATTENTION_CPU_PREFILL_PIPELINE_H_

#include <cstdint>

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"

namespace tamis::cpu {

/// Sizes of packed steps of a call.
struct PackedSizes {
  explicit PackedSizes(const Call& call);
  int32_t padded_dim_v;    ///< value_head_dim rounded up to a panel
  int64_t key_step_bytes;  ///< bytes of kStepKeys packed rows of K
  int64_t value_step_bytes;
};

/// What of the tile row after this one may be brought early.
struct NextTileRow {
  QueryRows queries = {};      ///< of no rows: nothing is known
  const void* keys = nullptr;  ///< packed: the step it probably runs first
};

/// A worker's memory for the steps under way.
struct PipelineScratch {
  PipelineScratch(const Call& call, Carver& carver);
  char* q;          // [kMaxTileRows][head_dim] elements
  float* s[2];      // [kMaxTileRows][kStepKeys]
  void* p[2];       // [kMaxTileRows][kStepKeys] elements; s itself where they are floats
  float* o;         // [kMaxTileRows][padded_dim_v]
  float* alpha[3];  // [kMaxTileRows], as are the next ones
  float* bases;
  float* running_max;
  float* step_max;
  float* sums;  // [kMaxTileRows][kSumLanes]

  // Where Kernels::weigh is used:
  float* old_sums;     // as sums
  char* next_q;        // as q, of the tile row after this one
  bool has_q = false;  // q holds the queries of the tile row that comes
};

/// One step. `ranges` and `seen` are as in ScoreArguments and ValueArguments.
struct Stage {
  float* s;
  void* p;
  float* alpha;
  bool moves_bases;  ///< older outputs are multiplied by alpha
  bool two_of_four;  ///< as in SoftmaxArguments
  const void* values;
  ColumnRange ranges[kMaxRowBlocks];
  ColumnRange seen[kMaxRowBlocks];
};

/// How PrefillPipeline::Weigh weighs a step; as in WeighArguments.
struct WeighRule {
  const RowMask* masks;
  bool two_of_four;
  RowMask* kept;
  bool wants_maxima;
};

/// Where tiles and vectors work side by side, the softmax of a step runs between the products of
/// the next step's scores and of the last step's values; else one follows the other, and values
/// wait for the next step only to know whether they are the last. The results are the same bits.
class PrefillPipeline {
 public:
  PrefillPipeline(const Call& call, const PackedSizes& sizes, PipelineScratch& scratch,
                  int32_t row_blocks, const QueryRows& queries, const NextTileRow& next);
  ~PrefillPipeline();
  PrefillPipeline(const PrefillPipeline&) = delete;
  PrefillPipeline& operator=(const PrefillPipeline&) = delete;

  /// The step at hand: set its ranges before Score, change its scores after it.
  Stage& now() { return stages_[turn_ % 3]; }
  const Stage& now() const { return stages_[turn_ % 3]; }
  /// Scores of the step at hand and, where asked for, their step_max. The first time, queries are
  /// loaded. `may_drop`: the next step's keys are likelier to be read next than the values.
  void Score(const void* keys, const void* values, const void* next_keys, bool wants_maxima,
             bool may_drop);
  /// Scores and step_max of the step at hand are final: running_max is raised; softmax and values
  /// follow. A step that is not pushed leaves no trace.
  void Push();
  /// Fetches the next tile row's queries, where Weigh may never load them.
  void FetchNextQueries() const;
  /// Score, Push and all between them where Kernels::weigh is used, for rows that have bases.
  /// False, and nothing done, where it must move bases: then the step goes through Score and Push.
  /// step_max is set where it is wanted; then Unweigh may take the step back.
  [[nodiscard]] bool Weigh(const PackedStep& step, const void* next_keys, const WeighRule& rule);
  void Unweigh();
  /// Ends what is under way.
  void Drain();
  /// Ends all softmax, so that sums are final.
  void DrainSoftmax();
  /// After DrainSoftmax: ends the values and stores outputs.
  void Finish(const OutputRows& output);

 private:
  bool side_by_side() const { return call_.kernels.scores_beside_softmax != nullptr; }
  void SetBuffers();
  void LoadRest(QueryLoad& load) const;
  void FinishEarlier(int32_t first_block);
  SoftmaxArguments Softmax(const Stage& stage, int32_t first_block, int32_t end_block) const;
  ValueArguments Values(const Stage& stage, const OutputRows* output);

  const Call& call_;
  const PackedSizes& sizes_;
  PipelineScratch& scratch_;
  int32_t row_blocks_;
  QueryRows queries_;
  bool queries_loaded_;
  QueryLoad next_queries_;
  const void* next_row_keys_;
  Stage stages_[3];
  int32_t turn_ = 0;          // steps pushed
  Stage* scored_ = nullptr;   // softmax is due
  Stage* weighed_ = nullptr;  // values are due
  const void* next_keys_ = nullptr;
  bool has_values_ = false;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_PREFILL_PIPELINE_H_
