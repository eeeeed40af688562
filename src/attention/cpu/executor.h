// The CPU executor behind PlanAttention and RunAttention.
#ifndef TAMIS_ATTENTION_CPU_EXECUTOR_H_
#define TAMIS_ATTENTION_CPU_EXECUTOR_H_

#include <cstddef>
#include <vector>

#include "attention/cpu/kernels.h"
#include "tamis/attention.h"

namespace tamis::cpu {

Variant VariantOf(CpuIsa isa);

/// Geometries of skip-softmax that the executor runs in `phase`.
std::vector<TileGeometry> Geometries(Phase phase);

/// Bytes of workspace for calls no larger than `maxima` on `workers` threads.
size_t WorkspaceBytes(Variant variant, const AttentionArguments& maxima,
                      const TileIndexShape* index, const TileRule& rule, int32_t workers);

/// Runs a call; `workspace` as WorkspaceBytes says, for no fewer workers than the pool has. Throws
/// Error where a sequence would skip in a geometry that its phase does not run.
void Run(Variant variant, const AttentionArguments& arguments, const TileIndex* index,
         const TileRule& rule, void* workspace, ThreadPool& pool);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_EXECUTOR_H_
