// What every part of the CPU executor needs to know of one call.
#ifndef TAMIS_ATTENTION_CPU_CALL_H_
#define TAMIS_ATTENTION_CPU_CALL_H_

#include <cstdint>

#include "attention/cpu/decode_fetches.h"
#include "attention/cpu/kernels.h"
#include "attention/sequence_view.h"
#include "tamis/attention.h"

namespace tamis::cpu {

/// A call with its derived constants. `index` null: every key.
struct Call {
  Call(Variant variant, const AttentionArguments& arguments, const TileIndex* index,
       const TileRule& rule, ThreadPool* pool);

  const AttentionArguments& arguments;
  const TileIndex* index;
  const TileRule& rule;
  ThreadPool* pool;        ///< null: only sizes are asked for
  const Kernels& kernels;  ///< bf16 dot products where they fit
  TileSizes tiles;

  /// Scores stay as q . k and the exponential's factor scales them, unless softcap or bias needs
  /// them in natural-log units.
  bool adjusts_scores;
  float scale;          ///< softmax scale
  float factor;         ///< exp2(factor * score) is the weight
  float natural_score;  ///< natural-log units of one unit of score
  bool has_pair_mask;   ///< a keep mask, or biases whose -inf must show in counts
  bool counts_drops;    ///< counts or executed entries are wanted
  DecodeFetches decode_fetches;
  bool streams_output;  ///< O is so large that whoever reads it next finds little of it in caches
};

/// Pairs and tiles that rules dropped for one query head, to be subtracted from what it visits.
struct Drops {
  int64_t pairs = 0;
  int64_t tiles = 0;
};

/// Adds to the counts of (sequence, head); items of one head run on several threads.
void AddDrops(const Call& call, int32_t b, int32_t head, const Drops& drops);

/// True where skip-softmax is on for sequence b; `threshold` is ln(lambda) in units of score.
bool SkipThreshold(const Call& call, int32_t b, float* threshold);

/// What the sum of v weighted by exp2(factor * s - base) is multiplied by to become a row of O,
/// from the sum of those weights; writes the row's LSE. A sum of zero (an empty row): 0 and -inf.
float FinishSum(const Call& call, const SequenceView& sequence, int32_t query, int32_t head,
                float base, float sum);

/// Where `count` rows of Q from `query` on lie.
QueryRows QueryRowsOf(const Call& call, const SequenceView& sequence, int32_t query, int32_t count,
                      int32_t head);

/// Where `count` rows of O from `query` on lie. Not streamed: who streams orders the rows too.
OutputRows OutputRowsOf(const Call& call, const SequenceView& sequence, int32_t query,
                        int32_t count, int32_t head, const float* scales);

/// Keys from `key` on that lie one row stride apart.
inline int32_t RunLength(const AttentionArguments& arguments, int32_t key) {
  const int32_t page_size = arguments.paged.page_size;
  return page_size == 0 ? INT32_MAX : page_size - key % page_size;
}

/// The base that Kernels::softmax uses for a running maximum.
inline float ExponentBase(float running_max, float factor) {
  return running_max == -__builtin_inff() ? 0.0f : running_max * factor;
}

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_CALL_H_
