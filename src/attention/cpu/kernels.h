// The table of compute kernels that each instruction set provides.
//
// The executor's driver (prefill.cc, decode.cc) is compiled once, for any processor; what runs per
// tile is compiled once per instruction set from kernels_*.h and reached through this table. Files
// compiled with wider instructions include nothing but this header and intrinsics, and keep every
// function of theirs in an unnamed namespace: an inline function from a shared header, compiled
// there, could be the copy that the linker keeps for processors that lack the instructions.
#ifndef TAMIS_ATTENTION_CPU_KERNELS_H_
#define TAMIS_ATTENTION_CPU_KERNELS_H_

#include <cstdint>

#include "tamis/dtype.h"

namespace tamis::cpu {

/// Keys between two updates of the running maximum: a *step*. Tiles of 64 columns are taken in
/// pairs, so that tiles of either width give the same bits.
inline constexpr int kStepKeys = 128;
/// Rows of queries that the kernels work on at a time; tiles are padded to it.
inline constexpr int kRowBlock = 8;
inline constexpr int kMaxTileRows = 128;
inline constexpr int kMaxRowBlocks = kMaxTileRows / kRowBlock;
/// Partial sums per row: the lanes of the widest vector.
inline constexpr int kSumLanes = 16;
inline constexpr int kMaxHeadDim = 256;

/// Bit j: key j of the step is visible to (or kept for) a row.
struct RowMask {
  uint64_t bits[2];
};

/// Columns [begin, end) of a step that a block of rows needs; multiples of kSumLanes, the widest
/// vector.
struct ColumnRange {
  int32_t begin;
  int32_t end;
  bool operator==(const ColumnRange&) const = default;
};

/// Packs `count` rows of K or V into a step from key `first` on. `rows` null: zeros.
struct PackArguments {
  DType dtype;
  const void* rows;
  int64_t stride;  ///< bytes from row to row
  int32_t count;
  int32_t first;
  int32_t dim;
  void* step;
};

/// Rows of queries where the caller keeps them.
struct QueryRows {
  DType dtype;
  const void* rows;
  int64_t stride;  ///< bytes
  int32_t count;
  int32_t dim;
};

/// Rows of queries on their way to elements of the table, a few after each register tile: they come
/// from memory, and many strides lie badly in the caches.
struct QueryLoad {
  QueryRows from;
  void* to;             ///< [from.count][from.dim]
  int32_t fetched = 0;  ///< rows that are on their way
  int32_t loaded = 0;
};

/// Rows of outputs where the caller wants them.
struct OutputRows {
  DType dtype;
  void* rows;
  int64_t stride;  ///< bytes
  int32_t count;
  int32_t dim;
  /// [count] what sums of values are multiplied by; 0: zeros, whatever they are.
  const float* scales;
  bool stream;  ///< past the caches, where address and size of a row allow
};

// In the arguments below, rows from row_blocks * kRowBlock to kMaxTileRows are there in q, s, p and
// o, and may be read and written: tiles of AMX are taller than a block.

/// s[row][column] = q[row] . k[column], for the columns that each block of rows needs.
struct ScoreArguments {
  void* q;  ///< [row_blocks * kRowBlock][head_dim] elements of the table
  /// Not null: the first rows of q come from there, converted, block by block between the products.
  const QueryRows* load;
  const void* k_step;
  int32_t head_dim;
  int32_t row_blocks;
  const ColumnRange* ranges;  ///< [row_blocks]
  float* s;                   ///< [rows][s_stride]
  int64_t s_stride;
  float* maxima;  ///< [rows] out, of ranges of whole panels: as row_maxima gives them; null: none
  /// Memory that will be read next, to be fetched into L2 meanwhile. Null: none.
  const void* ahead;
  int64_t ahead_bytes;
};

/// s = -inf where the mask's bit is clear, over the ranges; and the largest of what is left.
struct MaskArguments {
  float* s;  ///< [rows][s_stride]
  int64_t s_stride;
  int32_t rows;
  const ColumnRange* ranges;  ///< [row blocks]
  const RowMask* masks;       ///< [rows]
  float* maxima = nullptr;    ///< [rows] out: as row_maxima gives them; null: not wanted
};

/// N:M on columns [columns.begin, columns.end) of some rows: keeps the n best of every m aligned
/// columns, ties to the lowest, and those in `always`; the rest becomes -inf.
struct ThinArguments {
  float* s;  ///< [rows][s_stride], -inf in columns that a row does not see beside ones that it does
  int64_t s_stride;
  int32_t rows;
  ColumnRange columns;
  int32_t n, m;
  /// [rows] in: what a row sees; out: what it keeps. Bits outside the columns stay as they are.
  RowMask* masks;
  const RowMask* always;  ///< [rows]; null: none
};

/// How far (in powers of two) weights may exceed 1 before bases move: fp32 and bfloat16 hold them
/// as well there, and outputs are spared a factor.
inline constexpr float kLargestRise = 16.0f;

/// Running maxima, and the bases that exponentials are held to: of every row what its running
/// maximum was, times the factor, when bases moved last.
struct RaiseArguments {
  const float* step_max;  ///< [rows] largest score of a row in the step; -inf: none
  int32_t rows;           ///< up to the next multiple of kSumLanes may be read and written
  float factor;           ///< as in SoftmaxArguments
  float* running_max;     ///< [rows] raised to step_max
  float* bases;  ///< [rows] where they move, running_max * factor for rows with a score in the step
  float* alpha;  ///< [rows] out: what older sums and outputs are multiplied by
};

/// Exponentials of a step, and their sums.
struct SoftmaxArguments {
  float* s;  ///< [rows][s_stride], -inf where a pair is not kept
  int64_t s_stride;
  void* p;  ///< [rows][kStepKeys] elements of the table; may be s where the element is float
  int32_t first_block;  ///< only blocks of rows [first_block, row_blocks)
  int32_t row_blocks;
  const ColumnRange* ranges;
  /// Of every four aligned columns, only the two best weigh (ties to the lowest): 2:4 where rows
  /// see whole ranges and these are multiples of 64.
  bool two_of_four;
  float factor;        ///< exp2(factor * s - base): log2(e), and the softmax scale where s lacks it
  const float* bases;  ///< [rows]
  const float* alpha;  ///< [rows] what older sums are multiplied by
  float* sums;         ///< [rows][kSumLanes]
};

/// The sum of all weights of a step that `weigh` still takes: 2^60 leaves as much again to V.
inline constexpr float kLargestWeights = 1.152921504606846976e18f;

/// Weights of a step straight from its scores: `scores` and `softmax` in one, with the bases that
/// rows have.
struct WeighArguments {
  const void* q;  ///< [row_blocks * kRowBlock][head_dim] elements of the table
  const void* k_step;
  int32_t head_dim;
  int32_t row_blocks;
  /// [rows] what rows see; null: the whole step. Then ranges are not read, and else neither
  /// two_of_four nor maxima may be asked for.
  const RowMask* masks;
  const ColumnRange* ranges;  ///< as in ScoreArguments
  void* p;                    ///< [rows][kStepKeys] out: elements of the table
  bool two_of_four;           ///< as in SoftmaxArguments
  RowMask* kept;              ///< [rows] out: what two_of_four keeps; null: not wanted
  float factor;               ///< as in SoftmaxArguments
  const float* bases;         ///< [rows]
  float* maxima;              ///< [rows] out: largest score of each row; null: not wanted
  float* sums;                ///< [rows][kSumLanes]: weights are added
  float* old_sums;            ///< [rows][kSumLanes] scratch
  QueryLoad* load;            ///< to be continued
  const void* ahead;          ///< as in ScoreArguments
  int64_t ahead_bytes;
};

/// What becomes of outputs that are there when values are added.
enum class OldOutputs : uint8_t {
  kNone,    ///< there are none yet; rows that see no key become zero
  kScaled,  ///< multiplied by alpha
  kKept,    ///< as they are: bases have not moved
};

/// o[row] = alpha[row] * o[row] + p[row] . v_step, or with o as it is, or without it.
struct ValueArguments {
  void* p;  ///< entries outside the ranges may be set to zero
  const void* v_step;
  int32_t padded_dim;  ///< of V: a multiple of the panel
  int32_t row_blocks;
  const ColumnRange* ranges;
  /// [row_blocks] of each range, in multiples of 8, what some row of the block sees; p is zero
  /// elsewhere in the range.
  const ColumnRange* seen;
  OldOutputs old;
  const float* alpha;  ///< [rows]
  float* o;            ///< [rows][padded_dim]
  /// Not null: no values follow these, and rows of o go there as they are ready.
  const OutputRows* output;
  const void* ahead;  ///< as in ScoreArguments
  int64_t ahead_bytes;
};

/// A packed step of K and V.
struct PackedStep {
  const void* keys;
  const void* values;
};
/// Rows that run_steps takes together.
inline constexpr int kStepsRows = 32;
/// Bytes that it works in.
inline constexpr int64_t kStepsScratch = 36 << 10;

/// Steps that all rows see whole, scores to values.
struct StepsArguments {
  const void* q;       ///< [row_groups * 32][head_dim] elements of the table
  int32_t head_dim;    ///< of Q, K and V: 64 or 128
  int32_t row_groups;  ///< of 32 rows
  const PackedStep* steps;
  int32_t step_count;  ///< at least 1
  bool two_of_four;    ///< as in SoftmaxArguments
  float factor;        ///< as in SoftmaxArguments
  float* bases;        ///< [rows] in: what weights had so far; out: what all have now
  float* sums;         ///< [rows][kSumLanes]
  float* o;            ///< [rows][head_dim]
  void* scratch;       ///< kStepsScratch bytes, aligned to 64
};

/// How far ahead of their use rows are fetched, and into which cache.
struct FetchAhead {
  int32_t bytes = 0;  ///< 0: what the processor fetches by itself is enough
  bool into_l1 = false;
};

/// Rows of K or V read where they lie, for the few query rows of a decode step.
struct RowsArguments {
  DType dtype;
  const void* rows;
  int64_t stride;  ///< bytes
  int32_t count;
  int32_t dim;
  int32_t next = 0;  ///< rows after these that are read next, at the same stride
  FetchAhead ahead = {};
  /// Rows that are read after all of these, to be fetched at their end. Null: none.
  const void* then = nullptr;
  int64_t then_stride = 0;
};

struct Kernels {
  /// Bytes of a packed element: 4 (float) or 2 (bfloat16).
  int32_t element_bytes;
  /// Columns of a panel.
  int32_t panel;

  /// Before a thread's first product of scores or values, and after its last one; null: nothing to
  /// do.
  void (*begin_products)();
  void (*end_products)();
  void (*pack_keys)(const PackArguments&);
  void (*pack_values)(const PackArguments&);
  /// `count` contiguous elements of Q to elements of the table.
  void (*load_queries)(DType dtype, const void* source, void* target, int32_t count);
  void (*scores)(const ScoreArguments&);
  /// s = softcap(scale * s) + bias over columns [begin, end); softcap 0 and bias null: none.
  void (*adjust_row)(float* s, int32_t begin, int32_t end, float scale, float softcap,
                     const float* bias);
  void (*mask_rows)(const MaskArguments&);
  void (*thin_rows)(const ThinArguments&);
  /// maxima[row] = largest of s over the range of the row's block; -inf for an empty range.
  void (*row_maxima)(const float* s, int64_t s_stride, int32_t rows, const ColumnRange* ranges,
                     float* maxima);
  /// False where bases stay; alpha is 1 then.
  bool (*raise_maxima)(const RaiseArguments&);
  void (*softmax)(const SoftmaxArguments&);
  /// `scores`, `raise_maxima` and `softmax` in one, with bases as they are; null where step by step
  /// is faster. False where a weight is NaN or so large that bases must move: sums are as they
  /// were, and p holds nothing.
  bool (*weigh)(const WeighArguments&);
  void (*values)(const ValueArguments&);
  /// totals[row] = what softmax has left in sums[row], added up.
  void (*row_totals)(const float* sums, int32_t rows, float* totals);
  /// `scores` and `values` with the softmax of another step between their products, where other
  /// units of the processor compute it meanwhile; null where it has none.
  void (*scores_beside_softmax)(const ScoreArguments&, const SoftmaxArguments&);
  void (*values_beside_softmax)(const ValueArguments&, const SoftmaxArguments&);
  /// Scores, softmax and values of many steps at once, where there is a way faster than step by
  /// step; null where there is none. False where its range of numbers is too small (a score is NaN
  /// or far above its row's base): sums and o hold nothing then.
  bool (*run_steps)(const StepsArguments&);
  /// Stores rows of o, o_stride apart, scaled and converted.
  void (*store_rows)(const float* o, int64_t o_stride, const OutputRows& output);
  /// Orders streamed rows before what this thread stores next.
  void (*order_streamed_rows)();

  /// s[row][key] = q[row] . k[key]; q is [rows][kMaxHeadDim] elements of the table. Raises
  /// maxima[row] to the largest of them.
  void (*decode_scores)(const RowsArguments& k, const void* q, int32_t rows, float* s,
                        int64_t s_stride, float* maxima);
  /// p[i] = exp2(factor * s[i] - base), elements of the table, for `count` (a multiple of 64)
  /// scores. Their sums before rounding are added to *sum step by step of kStepKeys.
  void (*decode_exponentials)(const float* s, int32_t count, float factor, float base, void* p,
                              float* sum);
  /// sums[row] += p[row] . v, for any number of keys; p is as decode_exponentials leaves it,
  /// p_stride elements from row to row; sums are [rows][kMaxHeadDim] in an order of columns of the
  /// kernels' own.
  void (*decode_values)(const RowsArguments& v, const void* p, int64_t p_stride, int32_t rows,
                        float* sums);
  /// o = sums in the order of columns, `dim` of them; o too is [rows][kMaxHeadDim].
  void (*order_values)(const float* sums, int32_t rows, int32_t dim, float* o);

  /// Runs the multiply-add that `scores` and `values` use on registers only; returns its
  /// floating-point operations.
  int64_t (*burn)(int64_t iterations);
};

/// One compiled source. The emulated ones are for tests: they need AVX-512 only.
enum class Variant : uint8_t {
  kPortable,
  kAvx2,
  kAvx512,
  kAvx512Bf16,
  kAmxBf16,
  kAvx512Bf16Emulated,
  kAmxBf16Emulated,
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
extern const Kernels kAmxBf16Kernels;
extern const Kernels kAvx512Bf16EmulatedKernels;
extern const Kernels kAmxBf16EmulatedKernels;
#endif

/// The kernels of `variant` for these operands: bf16 dot products where the variant has them and
/// both Q and KV are bf16, fp32 arithmetic otherwise.
const Kernels& SelectKernels(Variant variant, DType dtype, DType kv_dtype);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_KERNELS_H_
