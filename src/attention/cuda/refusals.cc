#include "attention/cuda/refusals.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "attention/cuda/error.cuh"
#include "attention/cuda/executor.h"
#include "attention/cuda/kernel_choice.cuh"
#include "attention/cuda/layouts.cuh"
#include "attention/cuda/sm90/launch.cuh"
#include "base/check.h"

namespace tamis::cuda {
namespace {

constexpr int32_t kMaxHeadDim = 256;
/// Rows of the swizzle's period: copies of part of a tile begin at a multiple.
constexpr int32_t kPeriodRows = 8;

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

/// What only general kernels run. `what` asks for another.
void RequirePlain(const AttentionArguments& a, std::string_view what) {
  constexpr int32_t kMaxDim = 128;
  Require(a.head_dim <= kMaxDim && a.dim_v() <= kMaxDim,
          "the CUDA executor runs {} with head dims up to {}, not {} and {}", what, kMaxDim,
          a.head_dim, a.dim_v());
  const auto absent = [&](bool set, std::string_view option) {
    if (set) RequireAbsent(true, fmt::format("{} with {}", option, what).c_str());
  };
  absent(a.key_positions != nullptr, "key_positions");
  absent(a.softcap > 0.0f, "softcap");
  absent(a.mask.window_left >= 0 || a.mask.window_right >= 0, "a window");
  absent(a.mask.keep != nullptr, "a boolean mask");
  absent(a.bias.data != nullptr, "a bias");
  absent(a.sink_logits != nullptr, "sink logits");
}

/// What skip-softmax does not run and other calls do. Its geometry is one of Geometries.
void RequireSkippable(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  RequirePlain(a, "skip-softmax");
  if (index != nullptr) return;
  const NOfMRule thin = ActiveNOfM(a, rule);
  const int32_t tile_keys = SkipKernelOf(a, nullptr, thin).tile_keys;
  const int32_t tile_columns = rule.skip_softmax.geometry.tile_columns;
  Require(tile_columns == tile_keys,
          "skip-softmax tile_columns are {}; with head dims of {} and {}, {} N:M and without a "
          "TileIndex the CUDA executor runs {}",
          tile_columns, a.head_dim, a.dim_v(), thin.n != 0 ? "with" : "without", tile_keys);
}

}  // namespace

void RequireAbsent(bool set, const char* what) {
  Require(!set, "the CUDA executor does not run {} yet; leave it unset or use the CPU", what);
}

void RequireGatherable(const AttentionArguments& a) {
  const auto most = int64_t{UINT32_MAX} / static_cast<int64_t>(SizeOf(a.kv_dtype));
  Require(
      KeyRows(a) <= 1 || (a.k.stride.row <= most && a.v.stride.row <= most),
      "rows of k and v are {} and {} elements apart; with columns or windows of a TileIndex the "
      "CUDA executor takes up to {}",
      a.k.stride.row, a.v.stride.row, most);
}

void RequireSupported(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  Require(a.dtype == DType::kBF16 || a.dtype == DType::kF16,
          "the CUDA executor runs bf16 and f16, not {}", Name(a.dtype));
  Require(a.kv_dtype == a.dtype, "the CUDA executor needs K and V in Q's dtype {}, not {}",
          Name(a.dtype), Name(a.kv_dtype));
  Require(a.head_dim <= kMaxHeadDim && a.dim_v() <= kMaxHeadDim,
          "the CUDA executor runs head dims up to {}, not {} and {}", kMaxHeadDim, a.head_dim,
          a.dim_v());
  if (index != nullptr) {
    RequirePlain(a, "a TileIndex");
    RequireAbsent(a.paged.page_size != 0, "paged K and V with a TileIndex");
  }
  if (rule.skip_softmax.lambda != nullptr) {
    RequireSkippable(a, index, rule);
  }
  if (ActiveNOfM(a, rule).n != 0) RequirePlain(a, "N:M");
  RequireAbsent(a.counts != nullptr && rule.skip_softmax.lambda == nullptr,
                "counts without skip-softmax");
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
  Require(a.paged.page_size % kPeriodRows == 0,
          "page_size is {}; the CUDA executor runs pages of a multiple of {} keys",
          a.paged.page_size, kPeriodRows);
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

}  // namespace tamis::cuda
