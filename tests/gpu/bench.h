// Timing of the CUDA executor with device events.
#ifndef TAMIS_TESTS_GPU_BENCH_H_
#define TAMIS_TESTS_GPU_BENCH_H_

#include <cstdint>
#include <memory>

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
};

/// Median milliseconds of one call: after a warm-up, `repeats` bursts of about 20 ms on random
/// normal inputs.
double MeasureMilliseconds(const BenchOptions& options);

/// TFLOP/s at 4 * head_dim operations for each pair that the mask allows (half of all if causal).
double Teraflops(const BenchOptions& options, double milliseconds);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_BENCH_H_
