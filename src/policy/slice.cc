#include "policy/slice.h"

#include <algorithm>
#include <cassert>

namespace tamis::policy {
namespace {

// Null stays null: a tensor that the call does not use has no data.
template <typename Pointer>
void Advance(Pointer& pointer, int64_t elements) {
  if (pointer != nullptr) pointer += elements;
}

void Advance(ConstTensor& tensor, int64_t elements, DType dtype) {
  if (tensor.data == nullptr) return;
  tensor.data =
      static_cast<const char*>(tensor.data) + elements * static_cast<int64_t>(SizeOf(dtype));
}

void Advance(MutableTensor& tensor, int64_t elements, DType dtype) {
  if (tensor.data == nullptr) return;
  tensor.data = static_cast<char*>(tensor.data) + elements * static_cast<int64_t>(SizeOf(dtype));
}

}  // namespace

int64_t SequenceKeys(const AttentionArguments& a, int32_t sequence) {
  if (a.key_offsets != nullptr) return a.key_offsets[sequence + 1] - a.key_offsets[sequence];
  return a.key_lengths != nullptr ? a.key_lengths[sequence] : a.key_tokens;
}

int64_t SequenceQueries(const AttentionArguments& a, int32_t sequence) {
  if (a.query_offsets == nullptr) return a.query_tokens;
  return a.query_offsets[sequence + 1] - a.query_offsets[sequence];
}

AttentionArguments Slice(const AttentionArguments& a, int32_t first_sequence, int32_t last_sequence,
                         int32_t first_head, int32_t last_head) {
  const int32_t group = a.group();
  const bool whole_groups = first_head % group == 0 && last_head % group == 0;
  assert(whole_groups || first_head / group == (last_head - 1) / group);
  const int64_t b = first_sequence;
  const int64_t kv_head = first_head / group;

  AttentionArguments out = a;
  out.batch = last_sequence - first_sequence;
  out.q_heads = last_head - first_head;
  out.kv_heads = whole_groups ? out.q_heads / group : 1;
  out.counts = nullptr;
  out.executed = nullptr;

  const bool packed_queries = a.query_offsets != nullptr;
  const auto query_shift = [&](const Strides& stride) {
    return (packed_queries ? 0 : b * stride.batch) + first_head * stride.head;
  };
  Advance(out.q, query_shift(a.q.stride), a.dtype);
  Advance(out.o, query_shift(a.o.stride), a.dtype);
  Advance(out.lse, query_shift(a.lse_stride));
  Advance(out.query_offsets, b);

  const bool packed_keys = a.key_offsets != nullptr;
  const auto key_shift = [&](const Strides& stride) {
    return (packed_keys ? 0 : b * stride.batch) + kv_head * stride.head;
  };
  Advance(out.k, key_shift(a.k.stride), a.kv_dtype);
  Advance(out.v, key_shift(a.v.stride), a.kv_dtype);
  Advance(out.paged.k, kv_head * a.paged.k.stride.head, a.kv_dtype);
  Advance(out.paged.v, kv_head * a.paged.v.stride.head, a.kv_dtype);
  Advance(out.paged.page_table, b * a.paged.table_stride);
  Advance(out.key_offsets, b);
  Advance(out.key_lengths, b);
  Advance(out.key_positions, packed_keys ? 0 : b * a.key_tokens);

  Advance(out.query_starts, b);
  Advance(out.phases, b);
  Advance(out.mask.keep, b * a.mask.keep_batch_stride + first_head * a.mask.keep_head_stride);
  Advance(out.bias.data, b * a.bias.batch_stride + first_head * a.bias.head_stride);
  Advance(out.sink_logits, first_head);

  int64_t queries = 0, keys = 0;
  for (int32_t s = first_sequence; s < last_sequence; ++s) {
    queries = std::max(queries, SequenceQueries(a, s));
    keys = std::max(keys, SequenceKeys(a, s));
  }
  // key_tokens is also the row length of unpacked key_positions, which must then stay.
  if (packed_queries) out.query_tokens = static_cast<int32_t>(queries);
  if (packed_keys || a.key_positions == nullptr) out.key_tokens = static_cast<int32_t>(keys);
  return out;
}

}  // namespace tamis::policy
