// Which kernel runs a call.
#ifndef TAMIS_ATTENTION_CUDA_KERNEL_CHOICE_CUH_
#define TAMIS_ATTENTION_CUDA_KERNEL_CHOICE_CUH_

#include <cstdint>

#include "attention/cuda/sm90/launch.cuh"
#include "tamis/attention.h"

namespace tamis::cuda {

/// Keys that sparse kernels select among in one thread, and those that only drop scores.
constexpr int32_t kGroupKeys = 4;
constexpr int32_t kThinGroupKeys = 8;

/// True where a call changes or hides scores by more than causality and lengths.
bool ChangesScores(const AttentionArguments& a);

/// N:M that the call takes: none in decode, unless asked for there.
NOfMRule ActiveNOfM(const AttentionArguments& a, const TileRule& rule);

// Below, `thin` is the call's active N:M; `skips`: with skip-softmax; `index`: null without one.

/// True where the sparse product runs N:M, unless the call gathers: groups of four keys that the
/// copy engine can bring.
bool RunsSparse(const AttentionArguments& a, const TileIndexShape* index, const NOfMRule& thin,
                bool skips);

/// True where a call whose N:M the sparse product does not run drops scores of such groups of
/// eight.
bool ThinsGroups(const AttentionArguments& a, const TileIndexShape* index, const NOfMRule& thin,
                 bool skips);

/// True where the kernels that gather run: where single keys or parts of key blocks are visited,
/// and for both rules on key blocks that share tiles.
bool Gathers(const TileIndex* index, const NOfMRule& thin, bool skips);

/// The kernels with skip-softmax that vote on whole tiles.
const sm90::Kernel& SkipKernelOf(const AttentionArguments& a, const TileIndexShape* index,
                                 const NOfMRule& thin);

const sm90::Kernel& KernelOf(const AttentionArguments& a, const TileIndex* index,
                             const NOfMRule& thin, bool skips);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_KERNEL_CHOICE_CUH_
