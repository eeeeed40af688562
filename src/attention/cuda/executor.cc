#include "attention/cuda/executor.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>

#include "attention/cuda/error.cuh"
#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/tensor_map.cuh"
#include "base/check.h"

namespace tamis::cuda {
namespace {

constexpr int32_t kMaxHeadDim = 128;
/// Of L2, what K and V of the heads at work may fill.
constexpr double kSectionShare = 0.6;

void RequireAbsent(bool set, const char* what) {
  Require(!set, "the CUDA executor does not run {} yet; leave it unset or use the CPU", what);
}

void RequireHopper() {
  int device = 0, major = 0, minor = 0;
  CheckCuda(cudaGetDevice(&device), "finding a CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
            "reading the compute capability");
  CheckCuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
            "reading the compute capability");
  Require(major == 9 && minor == 0,
          "CUDA device {} has compute capability {}.{}; the CUDA executor runs on 9.0 (H100, H200)",
          device, major, minor);
}

int32_t DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  CheckCuda(cudaGetDevice(&device), "finding the CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&value, attribute, device), "reading a device attribute");
  return value;
}

const sm90::Kernel& KernelOf(DType dtype, int32_t dim) {
  if (dtype == DType::kBF16) return dim <= 64 ? sm90::kForwardBf16D64 : sm90::kForwardBf16D128;
  return dim <= 64 ? sm90::kForwardF16D64 : sm90::kForwardF16D128;
}

int64_t QueryRows(const AttentionArguments& a) {
  return a.query_offsets != nullptr ? a.packed_query_rows : a.query_tokens;
}
int64_t KeyRows(const AttentionArguments& a) {
  return a.key_offsets != nullptr ? a.packed_key_rows : a.key_tokens;
}

TensorLayout Layout(const char* name, const void* data, const Strides& stride, DType dtype,
                    int32_t dim, int32_t heads, bool packed, int32_t batch, int64_t rows) {
  return {name, data, stride, dtype, dim, heads, packed ? 1 : batch, rows};
}

struct Layouts {
  explicit Layouts(const AttentionArguments& a)
      : q(Layout("q", a.q.data, a.q.stride, a.dtype, a.head_dim, a.q_heads,
                 a.query_offsets != nullptr, a.batch, QueryRows(a))),
        o(Layout("o", a.o.data, a.o.stride, a.dtype, a.dim_v(), a.q_heads,
                 a.query_offsets != nullptr, a.batch, QueryRows(a))),
        k(Layout("k", a.k.data, a.k.stride, a.kv_dtype, a.head_dim, a.kv_heads,
                 a.key_offsets != nullptr, a.batch, KeyRows(a))),
        v(Layout("v", a.v.data, a.v.stride, a.kv_dtype, a.dim_v(), a.kv_heads,
                 a.key_offsets != nullptr, a.batch, KeyRows(a))) {}
  TensorLayout q, o, k, v;
};

/// K or V of a call without keys: any readable memory will do, since the mask hides all of it.
void StandIn(const TensorLayout& readable, TensorLayout& layout) {
  layout.data = readable.data;
  layout.stride = {};
  layout.dim = 8;
  layout.heads = layout.batch = 1;
  layout.rows = 1;
}

}  // namespace

void RequireSupported(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  Require(a.dtype == DType::kBF16 || a.dtype == DType::kF16,
          "the CUDA executor runs bf16 and f16, not {}", Name(a.dtype));
  Require(a.kv_dtype == a.dtype, "the CUDA executor needs K and V in Q's dtype {}, not {}",
          Name(a.dtype), Name(a.kv_dtype));
  Require(a.head_dim <= kMaxHeadDim && a.dim_v() <= kMaxHeadDim,
          "the CUDA executor runs head dims up to {}, not {} and {}", kMaxHeadDim, a.head_dim,
          a.dim_v());
  RequireAbsent(index != nullptr, "a TileIndex");
  RequireAbsent(rule.skip_softmax.lambda != nullptr, "skip-softmax");
  RequireAbsent(rule.n_of_m.n != 0, "N:M");
  RequireAbsent(a.paged.page_size != 0, "paged K and V");
  RequireAbsent(a.key_positions != nullptr, "key_positions");
  RequireAbsent(a.softcap > 0.0f, "softcap");
  RequireAbsent(a.mask.window_left >= 0 || a.mask.window_right >= 0, "a window");
  RequireAbsent(a.mask.keep != nullptr, "a boolean mask");
  RequireAbsent(a.bias.data != nullptr, "a bias");
  RequireAbsent(a.sink_logits != nullptr, "sink logits");
  RequireAbsent(a.counts != nullptr, "counts");
  RequireAbsent(a.executed != nullptr, "the executed mask");
  RequireAbsent(a.phases != nullptr, "a phase for each sequence");
  Require(
      a.query_offsets == nullptr || a.packed_query_rows > 0,
      "query_offsets are set but packed_query_rows is {}; the CUDA executor needs the number of "
      "rows behind q",
      a.packed_query_rows);
  Require(
      a.key_offsets == nullptr || a.packed_key_rows > 0,
      "key_offsets are set but packed_key_rows is {}; the CUDA executor needs the number of rows "
      "behind k",
      a.packed_key_rows);
  const Layouts layouts(a);
  for (const TensorLayout* layout : {&layouts.q, &layouts.o, &layouts.k, &layouts.v}) {
    if (layout->rows == 0) continue;
    RequireCopyable(*layout);
  }
  const int64_t blocks = (int64_t{a.query_tokens} + 127) / 128;
  Require(
      blocks * a.q_heads * a.batch < int64_t{1} << 30,
      "{} sequences of {} heads and {} queries are more than one CUDA call takes; split the batch",
      a.batch, a.q_heads, a.query_tokens);
  RequireHopper();
}

size_t WorkspaceBytes() { return sizeof(int32_t); }

std::string PathName() { return "cuda/sm90"; }

void Run(const AttentionArguments& a, void* workspace, void* stream) {
  if (a.query_tokens == 0) return;
  const sm90::Kernel& kernel = KernelOf(a.dtype, std::max(a.head_dim, a.dim_v()));
  Layouts layouts(a);
  if (KeyRows(a) == 0) {
    StandIn(layouts.q, layouts.k);
    StandIn(layouts.q, layouts.v);
  }
  const sm90::TensorMaps maps = {EncodeTensorMap(layouts.q, kernel.tile_rows),
                                 EncodeTensorMap(layouts.k, kernel.tile_keys),
                                 EncodeTensorMap(layouts.v, kernel.tile_keys)};
  const float scale =
      a.softmax_scale != 0.0f ? a.softmax_scale : 1.0f / std::sqrt(static_cast<float>(a.head_dim));
  sm90::ForwardParams params{};
  params.o = a.o.data;
  params.o_stride = a.o.stride;
  params.lse = a.lse;
  params.lse_stride = a.lse_stride;
  params.query_offsets = a.query_offsets;
  params.key_offsets = a.key_offsets;
  params.key_lengths = a.key_lengths;
  params.query_starts = a.query_starts;
  params.batch = a.batch;
  params.q_heads = a.q_heads;
  params.kv_heads = a.kv_heads;
  params.group = a.group();
  params.query_tokens = a.query_tokens;
  params.key_tokens = a.key_tokens;
  params.value_dim = a.dim_v();
  params.causality = a.mask.causality;
  params.causal_block = a.mask.causal_block;
  params.scale_log2 = scale * 1.44269504088896341f;
  params.foreign_tail = a.key_offsets != nullptr || a.key_lengths != nullptr || a.key_tokens == 0;
  params.query_blocks = (a.query_tokens + kernel.tile_rows - 1) / kernel.tile_rows;
  params.tiles = params.query_blocks * a.q_heads * a.batch;
  const double unit_bytes = 2.0 * static_cast<double>(a.key_tokens) * (a.head_dim + a.dim_v());
  const double budget = kSectionShare * DeviceAttribute(cudaDevAttrL2CacheSize);
  params.section_units = static_cast<int32_t>(std::clamp(
      budget / std::max(unit_bytes, 1.0), 1.0, static_cast<double>(a.batch) * a.kv_heads));
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  // Tiles of one section descend in length: rounds of alternating direction share them out to a few
  // per cent. Else blocks ask for the next tile, which costs a launch to clear the counter.
  const bool ragged =
      a.query_offsets != nullptr || a.key_offsets != nullptr || a.key_lengths != nullptr;
  if (ragged || params.section_units < a.batch * a.kv_heads) {
    params.next_tile = static_cast<int32_t*>(workspace);
    CheckCuda(cudaMemsetAsync(params.next_tile, 0, sizeof(int32_t), cuda_stream),
              "clearing the tile counter");
  }
  const int32_t blocks = std::min(params.tiles, DeviceAttribute(cudaDevAttrMultiProcessorCount));
  CheckCuda(kernel.launch(maps, params, blocks, cuda_stream), "launching attention");
}

}  // namespace tamis::cuda
