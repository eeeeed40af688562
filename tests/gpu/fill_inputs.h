// Random inputs made on the device.
#ifndef TAMIS_TESTS_GPU_FILL_INPUTS_H_
#define TAMIS_TESTS_GPU_FILL_INPUTS_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::gpu_testing {

/// What the scores of a benchmark look like.
struct Inputs {
  enum class Kind : uint8_t {
    kNormal,
    /// Each query's largest scores lie in its own tile of keys; those of every other tile of 64
    /// queries by `tile_keys` keys vary at random together, so that skip-softmax drops tiles
    /// independently of each other.
    kScattered,
    /// A sink, and a band whose scores fall with the distance, in shares that differ by head.
    kStructured,
  };
  Kind kind = Kind::kNormal;
  int32_t tile_keys = 128;
};

/// Standard normal values of bf16 or f16.
void FillNormal(DType dtype, void* data, int64_t elements, uint64_t seed);

/// Overwrites Q and K, [1, tokens, heads, head_dim] without gaps.
void FillStructured(const Inputs& inputs, const AttentionArguments& arguments, uint64_t seed);

/// ||a - b|| / ||b||.
double RelativeError(DType dtype, const void* a, const void* b, int64_t elements);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_FILL_INPUTS_H_
