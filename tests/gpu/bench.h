// Timing of the CUDA executor with device events.
#ifndef TAMIS_TESTS_GPU_BENCH_H_
#define TAMIS_TESTS_GPU_BENCH_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::gpu_testing {

struct BenchOptions {
  int32_t length = 4096;
  int32_t head_dim = 128;
  int32_t q_heads = 32;
  int32_t kv_heads = 8;
  int32_t batch = 1;
  DType dtype = DType::kBF16;
  bool causal = true;
  int repeats = 7;
  double warm_up_ms = 0.0;  ///< of load before the first burst
  double burst_ms = 20.0;   ///< 300 and more reach the clock that the power limit sustains
};

struct BenchResult {
  double milliseconds;  ///< of one call: the median of `repeats` bursts
  double teraflops;     ///< per second, 4 * head_dim for each pair that the mask allows
  double mhz;           ///< SM clock right after the bursts
  double cycles;        ///< SM cycles for each 64 x 64 scores that the mask allows
};

/// Times random normal inputs after a warm-up.
BenchResult Measure(const BenchOptions& options);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_BENCH_H_
