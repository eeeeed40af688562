#include "attention/cuda/layouts.cuh"

namespace tamis::cuda {
namespace {

int64_t QueryRows(const AttentionArguments& a) {
  return a.query_offsets != nullptr ? a.packed_query_rows : a.query_tokens;
}

TensorLayout Layout(const char* name, const void* data, const Strides& stride, DType dtype,
                    int32_t dim, int32_t heads, bool packed, int32_t batch, int64_t rows) {
  return {name, data, stride, dtype, dim, heads, packed ? 1 : batch, rows};
}

/// Pages take the place of sequences.
TensorLayout PageLayout(const char* name, const AttentionArguments& a, const ConstTensor& tensor,
                        int32_t dim) {
  return Layout(name, tensor.data, tensor.stride, a.kv_dtype, dim, a.kv_heads, false,
                a.paged.page_count, a.paged.page_size);
}

}  // namespace

int64_t KeyRows(const AttentionArguments& a) {
  return a.key_offsets != nullptr ? a.packed_key_rows : a.key_tokens;
}

Layouts::Layouts(const AttentionArguments& a)
    : q(Layout("q", a.q.data, a.q.stride, a.dtype, a.head_dim, a.q_heads,
               a.query_offsets != nullptr, a.batch, QueryRows(a))),
      o(Layout("o", a.o.data, a.o.stride, a.dtype, a.dim_v(), a.q_heads, a.query_offsets != nullptr,
               a.batch, QueryRows(a))),
      k(Layout("k", a.k.data, a.k.stride, a.kv_dtype, a.head_dim, a.kv_heads,
               a.key_offsets != nullptr, a.batch, KeyRows(a))),
      v(Layout("v", a.v.data, a.v.stride, a.kv_dtype, a.dim_v(), a.kv_heads,
               a.key_offsets != nullptr, a.batch, KeyRows(a))) {
  if (a.paged.page_size == 0) return;
  k = PageLayout("paged.k", a, a.paged.k, a.head_dim);
  v = PageLayout("paged.v", a, a.paged.v, a.dim_v());
}

void StandIn(const TensorLayout& readable, TensorLayout& layout) {
  layout.data = readable.data;
  layout.stride = {};
  layout.dim = 8;
  layout.heads = layout.batch = 1;
  layout.rows = 1;
}

}  // namespace tamis::cuda
