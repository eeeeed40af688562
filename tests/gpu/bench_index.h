// The indices that benches run.
#ifndef TAMIS_TESTS_GPU_BENCH_INDEX_H_
#define TAMIS_TESTS_GPU_BENCH_INDEX_H_

#include "attention/tile_index_storage.h"
#include "gpu/bench.h"

namespace tamis::gpu_testing {

struct BenchIndex {
  TileIndexStorage index;
  double pairs;  ///< of the tiles of 128 x 128 to run; half of every diagonal block
};

/// What BenchCall::density or BenchCall::slash asks for.
BenchIndex MakeBenchIndex(const BenchCall& call);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_BENCH_INDEX_H_
