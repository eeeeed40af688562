// Attention: the argument descriptor, and planning, validating and running a call.
//
// For each sequence b, query head h (KV head h / (q_heads / kv_heads)), query row i and key j:
//     s(i,j) = softcap(softmax_scale * q(i) . k(j)) + bias(h,i,j)     where the mask allows (i,j)
//     o(i)   = sum over kept j of exp(s(i,j) - lse(i)) v(j)
// Kept are the pairs that the mask allows, the TileIndex visits and the TileRule does not drop.
#ifndef TAMIS_ATTENTION_H_
#define TAMIS_ATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/cpu_isa.h"
#include "tamis/dtype.h"
#include "tamis/thread_pool.h"
#include "tamis/tile_index.h"
#include "tamis/tile_rule.h"

namespace tamis {

enum class Phase : uint8_t { kPrefill, kDecode };

enum class Causality : uint8_t {
  kCausal,         ///< key position <= query position
  kBidirectional,  ///< every key
  kBlockCausal,    ///< key position / causal_block <= query position / causal_block
};

/// Strides, in elements, of a [batch, rows, heads, dim] tensor whose dim is contiguous. Any order
/// of the outer dimensions passes without a copy. Packed (ragged) tensors ignore `batch`.
struct Strides {
  int64_t batch = 0;
  int64_t row = 0;
  int64_t head = 0;
};

struct ConstTensor {
  const void* data = nullptr;
  Strides stride;
};

struct MutableTensor {
  void* data = nullptr;
  Strides stride;
};

/// A KV cache in pages: key row r of sequence b lies in page page_table[b * table_stride +
/// r / page_size] at slot r % page_size.
struct PagedKv {
  int32_t page_size = 0;   ///< 0: K and V are not paged
  int32_t page_count = 0;  ///< pages behind the pointers; Validate checks the table against it
  const int32_t* page_table = nullptr;
  int64_t table_stride = 0;
  /// Strides of [pages, page_size, kv_heads, head_dim]: batch is the page's, row the slot's.
  ConstTensor k;
  ConstTensor v;
};

struct AttentionMask {
  Causality causality = Causality::kCausal;
  int32_t causal_block = 1;
  /// Keys with query position - key position > window_left, or key position - query position >
  /// window_right, are hidden, but for positions < sink_tokens. -1: no limit.
  int32_t window_left = -1;
  int32_t window_right = -1;
  int32_t sink_tokens = 0;
  /// Non-zero byte keeps the pair. [batch, q_heads, query, key]; key stride 1; a stride of 0
  /// broadcasts. Null: none. Ragged batches index query and key within the sequence.
  const uint8_t* keep = nullptr;
  int64_t keep_batch_stride = 0, keep_head_stride = 0, keep_query_stride = 0;
};

/// Additive bias in fp32, natural-log units, added after softcap. Same indexing as `keep`. A bias
/// of -inf hides the pair exactly as the mask would: it is not allowed, counts and votes nowhere.
struct AttentionBias {
  const float* data = nullptr;
  int64_t batch_stride = 0, head_stride = 0, query_stride = 0;
};

/// Exact counts of one (sequence, query head).
struct AttentionCounts {
  int64_t allowed_pairs = 0;  ///< pairs the mask allows
  int64_t visited_pairs = 0;  ///< of those, pairs the index visits
  int64_t kept_pairs = 0;     ///< of those, pairs no rule dropped
  /// Visited tiles with at least one allowed pair; TileRule says which tiles.
  int64_t visited_tiles = 0;
  int64_t skipped_tiles = 0;     ///< of those, tiles skip-softmax dropped
  int64_t lambda_saturated = 0;  ///< 1: lambda was >= 1 and the sequence ran dense

  AttentionCounts& operator+=(const AttentionCounts& other);
  bool operator==(const AttentionCounts&) const = default;
  /// visited_pairs / allowed_pairs; 1 where nothing is allowed.
  double density() const;
  /// skipped_tiles / visited_tiles; 0 where nothing is visited.
  double skipped_share() const;
};

/// One attention call. Views do not own; lengths and positions are int32, offsets 64-bit.
struct AttentionArguments {
  int32_t batch = 1;
  int32_t q_heads = 0;
  int32_t kv_heads = 0;        ///< divides q_heads; K and V are never repeated
  int32_t head_dim = 0;        ///< of Q and K: a multiple of 8, at most 256
  int32_t value_head_dim = 0;  ///< of V and O; 0: head_dim
  DType dtype = DType::kF32;   ///< of Q and O
  DType kv_dtype = DType::kF32;

  /// Rows of each sequence; for ragged or partly filled batches the largest.
  int32_t query_tokens = 0;
  int32_t key_tokens = 0;
  /// Packed rows: sequence b owns rows [offsets[b], offsets[b+1]). Null: uniform rows.
  const int32_t* query_offsets = nullptr;  // [batch + 1]
  const int32_t* key_offsets = nullptr;    // [batch + 1]
  /// Rows behind packed Q and O, and packed K and V; the CPU does not read them. CUDA needs them,
  /// because offsets lie in device memory.
  int64_t packed_query_rows = 0;
  int64_t packed_key_rows = 0;
  /// Valid keys of each sequence where rows are uniform or paged. Null: key_tokens.
  const int32_t* key_lengths = nullptr;  // [batch]
  /// Position of query row 0 of each sequence. Null: number of keys - number of queries, which
  /// aligns the causal mask bottom-right.
  const int32_t* query_starts = nullptr;  // [batch]
  /// Position of each key row, strictly ascending within a sequence; laid out as K's rows are:
  /// packed with key_offsets, else [batch][key_tokens]. Null: the row's index. Read by every mask,
  /// sink test and N:M group.
  const int32_t* key_positions = nullptr;
  /// Phase of each sequence. Null: `phase` for all.
  const Phase* phases = nullptr;
  Phase phase = Phase::kPrefill;

  float softmax_scale = 0.0f;  ///< 0: 1 / sqrt(head_dim)
  float softcap = 0.0f;        ///< > 0: s = softcap * tanh(s / softcap)
  AttentionMask mask;
  AttentionBias bias;
  /// [q_heads] logits that join the denominator only (gpt-oss). Null: none.
  const float* sink_logits = nullptr;

  ConstTensor q;
  ConstTensor k, v;  ///< unused when paged
  PagedKv paged;
  MutableTensor o;  ///< dtype `dtype`

  /// Natural-log log-sum-exp of the kept scores (and the sink logit), -inf for a row that keeps
  /// nothing (sink logit or not), at lse[b * batch + row * row + h * head] of lse_stride, rows as
  /// Q's. Null: not wanted.
  float* lse = nullptr;
  Strides lse_stride;
  /// [batch * q_heads], overwritten. Null: not wanted.
  AttentionCounts* counts = nullptr;
  /// Bits of kept pairs, overwritten: pair (b, h, i, j) is bit j % 32 of
  /// executed[((b * q_heads + h) * query_tokens + i) * ceil(key_tokens / 32) + j / 32].
  /// Quadratic in length: for tests and for backward. Null: not wanted.
  uint32_t* executed = nullptr;

  int32_t dim_v() const { return value_head_dim == 0 ? head_dim : value_head_dim; }
  int32_t group() const { return q_heads / kv_heads; }
};

enum class Device : uint8_t { kCpu, kCuda };
std::string_view Name(Device device);
Device ParseDevice(std::string_view name);

/// Where a call runs. `pool` must outlive plan and call.
struct ExecutionContext {
  Device device = Device::kCpu;
  ThreadPool* pool = nullptr;  ///< CPU: required
  std::optional<CpuIsa> isa;   ///< CPU: unset takes the best the machine has
  void* stream = nullptr;      ///< CUDA: the cudaStream_t to enqueue on
};

/// What a plan settled; pass it to RunAttention with arguments no larger than the planned ones.
struct AttentionPlan {
  Device device = Device::kCpu;
  CpuIsa isa = CpuIsa::kPortable;
  int32_t workers = 1;
  size_t workspace_bytes = 0;
  /// The path that will run, for reports: "cpu/avx512-bf16".
  std::string path;
};

/// The skip-softmax geometries `device` runs in `phase`.
std::vector<TileGeometry> PublishedGeometries(Device device, Phase phase);

/// Reads shapes, dtypes and which options are set (never the contents of arrays, which need only
/// be non-null where they will be). `index` null: every key. Throws Error naming what the executor
/// does not run.
AttentionPlan PlanAttention(const AttentionArguments& maxima, const TileIndexShape* index,
                            const TileRule& rule, const ExecutionContext& context);

/// Runs a planned call without allocating. `workspace` holds plan.workspace_bytes, aligned to 64.
/// Contents are trusted: see ValidateAttention. On CUDA every array and the workspace lie in device
/// memory, and the call is enqueued on the stream, not waited for.
void RunAttention(const AttentionPlan& plan, const AttentionArguments& arguments,
                  const TileIndex* index, const TileRule& rule, void* workspace,
                  const ExecutionContext& context);

/// Checks shapes, strides and the contents of offsets, lengths, positions, page table, lambda and
/// index (host memory). Throws Error with the first offending value.
void ValidateAttention(const AttentionArguments& arguments, const TileIndex* index,
                       const TileRule& rule);

/// Plans, validates and runs with a workspace of its own: for callers outside hot loops. Returns
/// the plan that ran. CPU only: it reads arrays.
AttentionPlan Attend(const AttentionArguments& arguments, const TileIndex* index,
                     const TileRule& rule, const ExecutionContext& context);

}  // namespace tamis

#endif  // TAMIS_ATTENTION_H_
