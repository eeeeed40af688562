// Calls for scripts/bench_gpu.py, which times them beside their peers in one process: contiguous
// [1, length, heads, head_dim] bf16 tensors on the current device.
#include <cstdio>

#include "tamis/attention.h"
#include "tamis/error.h"

namespace {

using namespace tamis;

struct Shape {
  int length, q_heads, kv_heads, head_dim, causal;
};

AttentionArguments Arguments(const Shape& shape, void* q, void* k, void* v, void* o) {
  const auto stride = [&](int32_t heads) {
    const int64_t row = int64_t{heads} * shape.head_dim;
    return Strides{shape.length * row, row, shape.head_dim};
  };
  AttentionArguments a;
  a.q_heads = shape.q_heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = shape.head_dim;
  a.dtype = a.kv_dtype = DType::kBF16;
  a.query_tokens = a.key_tokens = shape.length;
  a.mask.causality = shape.causal != 0 ? Causality::kCausal : Causality::kBidirectional;
  a.q = {q, stride(shape.q_heads)};
  a.k = {k, stride(shape.kv_heads)};
  a.v = {v, stride(shape.kv_heads)};
  a.o = {o, stride(shape.q_heads)};
  return a;
}

/// Runs, or without a workspace only tells its size; -1 after an error.
long long Call(const AttentionArguments& a, const TileIndex* index, void* workspace, void* stream) {
  ExecutionContext context;
  context.device = Device::kCuda;
  context.stream = stream;
  try {
    const AttentionPlan plan =
        PlanAttention(a, index == nullptr ? nullptr : &index->shape, {}, context);
    if (workspace != nullptr) RunAttention(plan, a, index, {}, workspace, context);
    return static_cast<long long>(plan.workspace_bytes);
  } catch (const Error& error) {
    std::fprintf(stderr, "tamis: %s\n", error.what());
    return -1;
  }
}

}  // namespace

extern "C" long long tamis_gpu_dense(const Shape* shape, void* q, void* k, void* v, void* o,
                                     void* workspace, void* stream) {
  return Call(Arguments(*shape, q, k, v, o), nullptr, workspace, stream);
}

extern "C" long long tamis_gpu_lists(const Shape* shape, void* q, void* k, void* v, void* o,
                                     const uint32_t* bitmap, const int32_t* counts, int query_block,
                                     int key_block, int heads_per_row, void* workspace,
                                     void* stream) {
  TileIndex index;
  index.shape = {.q_heads = shape->q_heads,
                 .heads_per_row = heads_per_row,
                 .query_block = query_block,
                 .key_block = key_block,
                 .max_query_tokens = shape->length,
                 .max_key_tokens = shape->length};
  index.bitmap = bitmap;
  index.counts = counts;
  return Call(Arguments(*shape, q, k, v, o), &index, workspace, stream);
}
