// Attention in fp64, straight from its definition: what every executor is held to.
#ifndef TAMIS_ATTENTION_REFERENCE_H_
#define TAMIS_ATTENTION_REFERENCE_H_

#include <cstdint>
#include <vector>

#include "tamis/attention.h"

namespace tamis {

/// One choice of N:M: a group of more than N visible keys of one query in one tile.
struct NOfMDecision {
  int32_t sequence, head, query;
  int32_t first_key, last_key;  ///< visible members of the group
  double gap;                   ///< Nth best score - the next
  double magnitude;             ///< largest magnitude (see ReferenceResult) of the members
};

/// One skip-softmax test: a visited tile of the rows that vote together.
struct SkipDecision {
  int32_t sequence;
  int32_t first_head, heads;  ///< query heads that voted
  int32_t first_query, queries;
  int32_t first_key, last_key;  ///< visited keys of the tile
  bool gathered;                ///< a tile of columns: other keys lie between first and last
  bool skipped;
  double gap;        ///< |largest over voters of (tile max - running max) - ln(lambda)|
  double magnitude;  ///< largest magnitude of the scores in the tile and behind the maxima
};

/// Everything in fp64. Decisions say how close each discrete choice was, so that an executor's
/// different choice can be told from a wrong one. The magnitude of a score is
/// softmax_scale * sum |q_d k_d| + |bias|: rounding errors of a score are a few ulp of that.
struct ReferenceResult {
  std::vector<double> o;                ///< [batch][q_heads][query_tokens][dim_v]
  std::vector<double> lse;              ///< [batch][q_heads][query_tokens]
  std::vector<uint32_t> executed;       ///< as AttentionArguments::executed
  std::vector<AttentionCounts> counts;  ///< [batch][q_heads]
  std::vector<NOfMDecision> n_of_m;
  std::vector<SkipDecision> skip;  ///< of tiles with at least one vote, where 0 < lambda < 1
};

/// True where the mask (and a bias of -inf) lets query `query` of head `q_head` of sequence `b` see
/// key `key`.
bool MaskAllows(const AttentionArguments& arguments, int32_t b, int32_t q_head, int32_t query,
                int32_t key);

/// Computes the call as DESIGN and the headers define it: any strides, layouts, masks, dtypes,
/// rules and geometries. N:M compares scores rounded to fp32. Writes those of o, lse, counts and
/// executed that `arguments` points to, as RunAttention does (o may be null here), and returns all
/// of them. Contents are trusted: see ValidateAttention. Slow, and holds one tile row's scores in
/// memory.
ReferenceResult ReferenceAttention(const AttentionArguments& arguments, const TileIndex* index,
                                   const TileRule& rule);

}  // namespace tamis

#endif  // TAMIS_ATTENTION_REFERENCE_H_
