// XAttention: block selection by antidiagonal scoring.
#ifndef TAMIS_SELECT_XATTENTION_H_
#define TAMIS_SELECT_XATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "select/xattention_kernel.h"
#include "tamis/selector.h"

namespace tamis {

/// "XAttention: Block Sparse Attention with Antidiagonal Scoring" (ICML 2025, arXiv 2503.16428),
/// Algorithm 1 with the dynamic thresholds of section 2.2, per query head, on 128 x 128 tiles.
///
/// With stride S, queries and keys form groups of S consecutive rows, counted from the sequence's
/// first query of the call and first key; the last group of either may be shorter. A pair of
/// groups (i, j) has the logit
///     L(i,j) = softmax_scale * mean over t of q[S*i + S-1-t] . k[S*j + t]
/// over those t whose two rows exist (none: L = 0), and is allowed where causality allows any of
/// its S x S pairs: where the first key of j is at or before the last key that the last query of i
/// sees. With P(i,:) the softmax of L(i,:) over the allowed groups,
///     mass(query block, key block) = sum of P(i,j) over the groups of the two blocks.
/// Each query group carries a mass of 1, so no key past the end of a sequence takes any.
///
/// A row of tiles first takes its forced blocks: with keep_sink, key block 0; with keep_recent, and
/// always where causality is not bidirectional, every key block that holds the position of one of
/// the row's own queries (one block where the first query's position is a multiple of 128, else
/// up to two). To these it adds blocks in descending order of mass, equal masses by ascending
/// block, while the mass taken is below threshold * the row's total. Threshold 1 takes every block
/// whose mass is above zero in fp32. A block that no query of the row sees is never taken. A row
/// whose masses are not finite (inputs that hold infinities or NaN) takes every block it sees.
struct XAttentionParameters {
  int32_t stride = 16;
  std::vector<double> threshold = {0.9};  ///< one, or one per query head
  bool keep_sink = true;
  bool keep_recent = false;
};

constexpr int32_t kXAttentionBlock = 128;

SelectorInfo XAttentionInfo();

/// Throws Error naming what XAttention does not cover in `arguments`.
void CheckXAttentionCoverage(const AttentionArguments& arguments);

/// Receives the masses of one (sequence, query head, query block), one per key block the row sees
/// (trailing blocks that no query of it sees are left out). `worker` is the pool's.
using XAttentionVisitor = std::function<void(int32_t sequence, int32_t q_head, int32_t query_block,
                                             std::span<const float> mass, int worker)>;

/// Bytes of workspace, for calls no larger than `maxima`, of EstimateXAttention.
size_t XAttentionWorkspaceBytes(const AttentionArguments& maxima, int32_t stride, int workers,
                                const XAttentionKernel& kernel);

/// Computes block masses in fp32 on the pool and hands each row to `visit`, in no fixed order, on
/// the worker that made it. Masses do not depend on the number of workers. `workspace` is aligned
/// to 64.
void EstimateXAttention(const AttentionArguments& arguments, int32_t stride, void* workspace,
                        ThreadPool& pool, const XAttentionKernel& kernel,
                        const XAttentionVisitor& visit);

/// Sets, in `bits` (whole words, zeroed by the caller), the blocks a row takes given its masses
/// and forced blocks [recent_begin, recent_end). `scratch` holds mass.size() entries.
void TakeXAttentionBlocks(std::span<const float> mass, double threshold, bool keep_sink,
                          int32_t recent_begin, int32_t recent_end, uint64_t* scratch,
                          uint32_t* bits);

}  // namespace tamis

#endif  // TAMIS_SELECT_XATTENTION_H_
