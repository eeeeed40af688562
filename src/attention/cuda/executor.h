// The CUDA executor behind PlanAttention and RunAttention.
#ifndef TAMIS_ATTENTION_CUDA_EXECUTOR_H_
#define TAMIS_ATTENTION_CUDA_EXECUTOR_H_

#include <cstddef>
#include <string>
#include <vector>

#include "tamis/attention.h"

namespace tamis::cuda {

/// The skip-softmax geometries: of dense calls by head dim, of lists by key block.
std::vector<TileGeometry> Geometries();

/// Throws Error naming what the executor does not run, or the current device cannot.
void RequireSupported(const AttentionArguments& maxima, const TileIndexShape* index,
                      const TileRule& rule);

/// Bytes of device memory that Run needs.
size_t WorkspaceBytes(const AttentionArguments& maxima, const TileIndexShape* index,
                      const TileRule& rule);

/// The path that runs, for reports: N:M by the sparse product, or by dropping scores before the
/// dense one. Where that depends on what an index has besides blocks, both.
std::string PathName(const AttentionArguments& maxima, const TileIndexShape* index,
                     const TileRule& rule);

/// Enqueues a supported call on `stream` (a cudaStream_t) of the current device. All arrays and
/// `workspace` lie in device memory. Neither allocates nor waits: can be captured into a graph.
void Run(const AttentionArguments& arguments, const TileIndex* index, const TileRule& rule,
         void* workspace, void* stream);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_EXECUTOR_H_
