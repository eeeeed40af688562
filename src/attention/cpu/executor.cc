#include "attention/cpu/executor.h"

#include <algorithm>

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"
#include "attention/cpu/counts.h"
#include "attention/cpu/decode.h"
#include "attention/cpu/prefill.h"
#include "base/check.h"

namespace tamis::cpu {
namespace {

bool MayRun(const AttentionArguments& arguments, Phase phase) {
  return arguments.phases != nullptr || arguments.phase == phase;
}

/// Divides (and runs) the two phases in turn; they share memory.
size_t Divide(const Call& call, void* workspace, int32_t workers, bool run) {
  Carver prefill(workspace), decode(workspace);
  if (MayRun(call.arguments, Phase::kPrefill)) RunPrefill(call, prefill, workers, run);
  if (MayRun(call.arguments, Phase::kDecode)) RunDecode(call, decode, workers, run);
  return std::max(prefill.bytes(), decode.bytes());
}

/// Mixed batches have one geometry for two phases: a sequence may only skip in one of its phase's.
void CheckGeometries(const AttentionArguments& a, const TileRule& rule) {
  const float* lambda = rule.skip_softmax.lambda;
  if (lambda == nullptr || a.phases == nullptr) return;
  const TileGeometry& geometry = rule.skip_softmax.geometry;
  for (int32_t b = 0; b < a.batch; ++b) {
    if (!(lambda[b] > 0.0f && lambda[b] < 1.0f)) continue;
    // Written out, because Geometries allocates.
    const bool decode_geometry = geometry.tile_rows == 1;
    Require(decode_geometry == (a.phases[b] == Phase::kDecode),
            "sequence {} is in {} but lambda[{}] is {} on tiles of {} rows; set it to 0 or run the "
            "phases in calls of their own",
            b, a.phases[b] == Phase::kDecode ? "decode" : "prefill", b, lambda[b],
            geometry.tile_rows);
  }
}

}  // namespace

Variant VariantOf(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kPortable:
      return Variant::kPortable;
    case CpuIsa::kAvx2:
      return Variant::kAvx2;
    case CpuIsa::kAvx512:
      return Variant::kAvx512;
    case CpuIsa::kAvx512Bf16:
      return Variant::kAvx512Bf16;
    case CpuIsa::kAmxBf16:
      return Variant::kAmxBf16;
  }
  return Variant::kPortable;
}

std::vector<TileGeometry> Geometries(Phase phase) {
  std::vector<TileGeometry> geometries;
  for (const int32_t columns : {64, 128}) {
    if (phase == Phase::kDecode) {
      geometries.push_back({1, columns, SkipVote::kGqaGroup, 1});
    } else {
      geometries.push_back({64, columns, SkipVote::kQueryHead, 1});
      geometries.push_back({128, columns, SkipVote::kQueryHead, 1});
    }
  }
  return geometries;
}

size_t WorkspaceBytes(Variant variant, const AttentionArguments& maxima,
                      const TileIndexShape* index, const TileRule& rule, int32_t workers) {
  TileIndex shape_only;
  if (index != nullptr) shape_only.shape = *index;
  const Call call(variant, maxima, index == nullptr ? nullptr : &shape_only, rule, nullptr);
  return Divide(call, nullptr, workers, false);
}

void Run(Variant variant, const AttentionArguments& arguments, const TileIndex* index,
         const TileRule& rule, void* workspace, ThreadPool& pool) {
  CheckGeometries(arguments, rule);
  const Call call(variant, arguments, index, rule, &pool);
  if (arguments.executed != nullptr) {
    const int64_t rows = int64_t{arguments.batch} * arguments.q_heads * arguments.query_tokens;
    std::fill_n(arguments.executed, rows * ((arguments.key_tokens + 31) / 32), 0u);
  }
  CountVisited(call);
  Divide(call, workspace, pool.size(), true);
}

}  // namespace tamis::cpu
