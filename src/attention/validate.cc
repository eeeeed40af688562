#include "attention/validate.h"

#include <cmath>
#include <limits>
#include <utility>

#include "attention/sequence_view.h"
#include "base/check.h"

namespace tamis {
namespace {

/// Leaves room for block arithmetic in int32.
constexpr int32_t kMaxTokens = 1 << 30;
constexpr int32_t kMaxHeadDim = 256;

void RequireHeadDim(const char* name, int32_t dim) {
  Require(dim >= 8 && dim <= kMaxHeadDim && dim % 8 == 0,
          "{} is {}; use a multiple of 8 from 8 to {}", name, dim, kMaxHeadDim);
}

void RequireTokens(const char* name, int32_t tokens) {
  Require(tokens >= 0 && tokens <= kMaxTokens, "{} is {}; use 0 to {}", name, tokens, kMaxTokens);
}

void ValidateMask(const AttentionMask& mask) {
  Require(mask.causality <= Causality::kBlockCausal,
          "causality {} is unknown; use kCausal, kBidirectional or kBlockCausal",
          static_cast<int>(mask.causality));
  Require(mask.causal_block >= 1, "causal_block is {}; use 1 or more", mask.causal_block);
  Require(mask.window_left >= -1 && mask.window_right >= -1,
          "window ({}, {}) is negative; use -1 for no limit, 0 or more otherwise", mask.window_left,
          mask.window_right);
  Require(mask.sink_tokens >= 0, "mask.sink_tokens is {}; use 0 or more", mask.sink_tokens);
  Require(mask.keep_batch_stride >= 0 && mask.keep_head_stride >= 0 && mask.keep_query_stride >= 0,
          "strides ({}, {}, {}) of the keep mask are negative; use 0 to broadcast, else positive",
          mask.keep_batch_stride, mask.keep_head_stride, mask.keep_query_stride);
}

/// Offsets [batch + 1] of packed rows.
void ValidateOffsets(const char* name, const int32_t* offsets, int32_t batch, const char* most_name,
                     int32_t most) {
  Require(offsets[0] >= 0, "{}[0] is {}; offsets start at 0 or later", name, offsets[0]);
  for (int32_t b = 0; b < batch; ++b) {
    const int64_t rows = int64_t{offsets[b + 1]} - offsets[b];
    Require(rows >= 0, "{}[{}] is {} after {}; offsets must not descend", name, b + 1,
            offsets[b + 1], offsets[b]);
    Require(rows <= most,
            "{} gives sequence {} {} rows; {} is {}: raise it to the longest sequence", name, b,
            rows, most_name, most);
  }
}

void ValidatePositions(const AttentionArguments& arguments, const SequenceView& sequence,
                       int32_t b) {
  if (arguments.key_positions != nullptr) {
    int64_t previous = -1;
    for (int32_t j = 0; j < sequence.keys(); ++j) {
      const int64_t position = sequence.KeyPosition(j);
      Require(position >= 0, "key {} of sequence {} has position {}; positions start at 0", j, b,
              position);
      Require(position > previous,
              "key {} of sequence {} has position {} after {}; positions must ascend", j, b,
              position, previous);
      previous = position;
    }
  }
  const int64_t last = sequence.QueryPosition(sequence.queries()) - 1;
  Require(last <= std::numeric_limits<int32_t>::max(),
          "query_starts[{}] is {}, which puts the last of {} queries at position {}; positions end "
          "at {}",
          b, sequence.QueryPosition(0), sequence.queries(), last,
          std::numeric_limits<int32_t>::max());
}

void ValidatePages(const AttentionArguments& arguments, const SequenceView& sequence, int32_t b) {
  const PagedKv& paged = arguments.paged;
  const int32_t pages = (sequence.keys() + paged.page_size - 1) / paged.page_size;
  Require(arguments.batch == 1 || pages <= paged.table_stride,
          "sequence {} needs {} pages for {} keys; table_stride is {}: widen the page table", b,
          pages, sequence.keys(), paged.table_stride);
  for (int32_t i = 0; i < pages; ++i) {
    const int32_t page = paged.page_table[b * paged.table_stride + i];
    Require(page >= 0 && page < paged.page_count,
            "page table entry {} of sequence {} is {}; pages lie in [0, {})", i, b, page,
            paged.page_count);
  }
}

/// One dimension of a tensor, as the stride checks see it.
struct Dimension {
  const char* name;
  int64_t extent;
  int64_t stride;
};

void ValidateTensor(const char* name, const void* data, DType dtype, int32_t dim,
                    const Dimension (&dimensions)[3], bool written) {
  int64_t elements = 1;
  for (const Dimension& d : dimensions) elements *= d.extent > 0 ? 1 : 0;
  if (elements == 0) return;  // nothing is read or written
  Require(data != nullptr, "{} is null; point it at its data", name);
  Require(reinterpret_cast<uintptr_t>(data) % SizeOf(dtype) == 0,
          "{} is not aligned to its {} elements; align it to {} bytes", name, Name(dtype),
          SizeOf(dtype));
  __int128 span = 0;
  for (const Dimension& d : dimensions) {
    if (d.extent == 1) continue;
    const bool broadcast = d.stride == 0 && !written;
    Require(broadcast || d.stride >= dim, "{} stride of {} is {} elements; use at least {}{}",
            d.name, name, d.stride, dim, written ? "" : ", or 0 to broadcast");
    span += static_cast<__int128>(d.stride) * (d.extent - 1);
  }
  Require(span <= std::numeric_limits<int64_t>::max() / 8,
          "strides of {} span more than an address can reach; give them in elements", name);
  if (!written) return;
  // Rows of the output must not overlap: sorted by stride, each dimension steps over the whole of
  // the smaller ones.
  const Dimension* sorted[3] = {&dimensions[0], &dimensions[1], &dimensions[2]};
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < 2; ++i) {
      if (sorted[i]->stride > sorted[i + 1]->stride) std::swap(sorted[i], sorted[i + 1]);
    }
  }
  int64_t covered = dim;
  for (const Dimension* d : sorted) {
    if (d->extent == 1) continue;
    Require(d->stride >= covered,
            "{} stride of {} is {} elements, inside another of its rows; use at least {}", d->name,
            name, d->stride, covered);
    covered = d->stride * (d->extent - 1) + covered;
  }
}

/// A [batch, rows, heads, dim] tensor; packed ones have one sequence of `packed_rows` rows.
void ValidateRows(const char* name, const void* data, const Strides& stride, DType dtype,
                  int32_t dim, int32_t batch, int64_t rows, const int32_t* offsets, int32_t heads,
                  bool written) {
  const int64_t sequences = offsets != nullptr ? 1 : batch;
  const int64_t all_rows = offsets != nullptr ? offsets[batch] - offsets[0] : rows;
  ValidateTensor(name, data, dtype, dim,
                 {{"batch", sequences, stride.batch},
                  {"row", all_rows, stride.row},
                  {"head", heads, stride.head}},
                 written);
}

}  // namespace

void ValidateShape(const AttentionArguments& a) {
  Require(a.batch >= 1, "batch is {}; use 1 or more", a.batch);
  Require(a.q_heads >= 1, "q_heads is {}; use 1 or more", a.q_heads);
  Require(a.kv_heads >= 1, "kv_heads is {}; use 1 or more", a.kv_heads);
  Require(a.q_heads % a.kv_heads == 0,
          "q_heads {} is not a multiple of kv_heads {}; every KV head serves the same number of "
          "query heads",
          a.q_heads, a.kv_heads);
  RequireHeadDim("head_dim", a.head_dim);
  if (a.value_head_dim != 0) RequireHeadDim("value_head_dim", a.value_head_dim);
  Require(a.dtype <= DType::kF16, "dtype {} is unknown; use kF32, kBF16 or kF16",
          static_cast<int>(a.dtype));
  Require(a.kv_dtype <= DType::kF16, "kv_dtype {} is unknown; use kF32, kBF16 or kF16",
          static_cast<int>(a.kv_dtype));
  RequireTokens("query_tokens", a.query_tokens);
  RequireTokens("key_tokens", a.key_tokens);
  Require(std::isfinite(a.softmax_scale) && a.softmax_scale >= 0,
          "softmax_scale is {}; use a positive number, or 0 for 1 / sqrt(head_dim)",
          a.softmax_scale);
  Require(std::isfinite(a.softcap) && a.softcap >= 0,
          "softcap is {}; use a positive number, or 0 for none", a.softcap);
  ValidateMask(a.mask);
  Require(a.bias.batch_stride >= 0 && a.bias.head_stride >= 0 && a.bias.query_stride >= 0,
          "strides ({}, {}, {}) of the bias are negative; use 0 to broadcast, else positive",
          a.bias.batch_stride, a.bias.head_stride, a.bias.query_stride);
  Require(a.phase <= Phase::kDecode, "phase {} is unknown; use kPrefill or kDecode",
          static_cast<int>(a.phase));
}

void ValidateSequences(const AttentionArguments& a) {
  if (a.sink_logits != nullptr) {
    for (int32_t h = 0; h < a.q_heads; ++h) {
      Require(a.sink_logits[h] < std::numeric_limits<float>::infinity(),
              "sink_logits[{}] is {}; use a finite logit, or -inf for none", h, a.sink_logits[h]);
    }
  }
  for (int32_t b = 0; a.phases != nullptr && b < a.batch; ++b) {
    Require(a.phases[b] <= Phase::kDecode, "phases[{}] is {}; use kPrefill or kDecode", b,
            static_cast<int>(a.phases[b]));
  }
  const PagedKv& paged = a.paged;
  if (a.query_offsets != nullptr) {
    ValidateOffsets("query_offsets", a.query_offsets, a.batch, "query_tokens", a.query_tokens);
  }
  if (a.key_offsets != nullptr) {
    Require(a.key_lengths == nullptr,
            "both key_offsets and key_lengths are set; packed keys take their lengths from "
            "key_offsets: leave key_lengths null");
    Require(paged.page_size == 0,
            "both key_offsets and a page size of {} are set; give the lengths of paged sequences "
            "as key_lengths",
            paged.page_size);
    ValidateOffsets("key_offsets", a.key_offsets, a.batch, "key_tokens", a.key_tokens);
  }
  if (a.key_lengths != nullptr) {
    for (int32_t b = 0; b < a.batch; ++b) {
      Require(a.key_lengths[b] >= 0 && a.key_lengths[b] <= a.key_tokens,
              "key_lengths[{}] is {}; lengths lie in [0, key_tokens = {}]", b, a.key_lengths[b],
              a.key_tokens);
    }
  }
  Require(paged.page_size >= 0, "page_size is {}; use 1 or more, or 0 for K and V without pages",
          paged.page_size);
  if (paged.page_size == 0) {
    Require(paged.page_table == nullptr, "a page table is set but page_size is 0; set page_size");
  } else if (a.key_tokens > 0) {
    Require(paged.page_count >= 1, "page_count is {}; give the number of pages behind paged.k",
            paged.page_count);
    Require(paged.page_table != nullptr, "page_size is {} but page_table is null; set page_table",
            paged.page_size);
    Require(paged.table_stride >= 0, "table_stride is {}; give the entries per sequence",
            paged.table_stride);
  }
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    ValidatePositions(a, sequence, b);
    if (paged.page_size != 0) ValidatePages(a, sequence, b);
  }
}

void ValidateTensors(const AttentionArguments& a) {
  ValidateRows("q", a.q.data, a.q.stride, a.dtype, a.head_dim, a.batch, a.query_tokens,
               a.query_offsets, a.q_heads, false);
  ValidateRows("o", a.o.data, a.o.stride, a.dtype, a.dim_v(), a.batch, a.query_tokens,
               a.query_offsets, a.q_heads, true);
  if (a.lse != nullptr) {
    ValidateRows("lse", a.lse, a.lse_stride, DType::kF32, 1, a.batch, a.query_tokens,
                 a.query_offsets, a.q_heads, true);
  }
  if (a.paged.page_size != 0) {
    const int32_t pages = a.key_tokens > 0 ? a.paged.page_count : 0;
    ValidateRows("paged.k", a.paged.k.data, a.paged.k.stride, a.kv_dtype, a.head_dim, pages,
                 a.paged.page_size, nullptr, a.kv_heads, false);
    ValidateRows("paged.v", a.paged.v.data, a.paged.v.stride, a.kv_dtype, a.dim_v(), pages,
                 a.paged.page_size, nullptr, a.kv_heads, false);
  } else {
    ValidateRows("k", a.k.data, a.k.stride, a.kv_dtype, a.head_dim, a.batch, a.key_tokens,
                 a.key_offsets, a.kv_heads, false);
    ValidateRows("v", a.v.data, a.v.stride, a.kv_dtype, a.dim_v(), a.batch, a.key_tokens,
                 a.key_offsets, a.kv_heads, false);
  }
}

void ValidateAttention(const AttentionArguments& arguments, const TileIndex* index,
                       const TileRule& rule) {
  ValidateShape(arguments);
  ValidateSequences(arguments);
  ValidateTensors(arguments);
  ValidateRule(arguments, rule);
  if (index != nullptr) ValidateIndex(arguments, *index, rule);
}

}  // namespace tamis
