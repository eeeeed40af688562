// A dense causal or bidirectional call for scripts/bench_gpu.py, which times it beside its peers in
// one process: contiguous [1, length, heads, head_dim] bf16 tensors on the current device.
#include <cstdio>

#include "tamis/attention.h"
#include "tamis/error.h"

extern "C" int tamis_gpu_dense(void* q, void* k, void* v, void* o, int length, int q_heads,
                               int kv_heads, int head_dim, int causal, void* workspace,
                               void* stream) {
  using namespace tamis;
  const auto stride = [&](int32_t heads) {
    const int64_t row = int64_t{heads} * head_dim;
    return Strides{length * row, row, head_dim};
  };
  AttentionArguments a;
  a.q_heads = q_heads;
  a.kv_heads = kv_heads;
  a.head_dim = head_dim;
  a.dtype = a.kv_dtype = DType::kBF16;
  a.query_tokens = a.key_tokens = length;
  a.mask.causality = causal != 0 ? Causality::kCausal : Causality::kBidirectional;
  a.q = {q, stride(q_heads)};
  a.k = {k, stride(kv_heads)};
  a.v = {v, stride(kv_heads)};
  a.o = {o, stride(q_heads)};
  ExecutionContext context;
  context.device = Device::kCuda;
  context.stream = stream;
  try {
    RunAttention(PlanAttention(a, nullptr, {}, context), a, nullptr, {}, workspace, context);
  } catch (const Error& error) {
    std::fprintf(stderr, "tamis: %s\n", error.what());
    return 1;
  }
  return 0;
}
