// Timing of the CUDA executor with device events.
#ifndef TAMIS_TESTS_GPU_BENCH_H_
#define TAMIS_TESTS_GPU_BENCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gpu/fill_inputs.h"
#include "tamis/attention.h"

namespace tamis::gpu_testing {

/// The pattern of a vertical-slash selector: for each head columns and bands of diagonals at
/// random, and the diagonals nearest to the main one.
struct VerticalSlash {
  int32_t columns = 0;
  int32_t local = 0;  ///< diagonals from the main one; 0: its block
  int32_t bands = 0;
  int32_t band_width = 0;  ///< diagonals
  /// In place of windows and columns as many tiles in random blocks below the diagonal.
  bool as_blocks = false;
};

/// One call on random inputs, the same for all calls of a Measure with the same shapes.
struct BenchCall {
  std::string name;
  /// Of each sequence, queries and keys. More than one: packed rows, or paged keys with lengths.
  std::vector<int32_t> lengths = {4096};
  int32_t head_dim = 128;
  int32_t q_heads = 32;
  int32_t kv_heads = 8;
  DType dtype = DType::kBF16;
  AttentionMask mask;
  int32_t page_size = 0;  ///< > 0: K and V in shuffled pages
  float softcap = 0.0f;
  bool sink_logits = false;
  bool bias = false;  ///< one for all heads
  /// Lists: each block of 128 x 128 below the diagonal with this chance, a list for each head, and
  /// the diagonal. One causal sequence. Unset: dense.
  std::optional<double> density = {};
  int32_t key_block = 128;  ///< of these lists; blocks of 64 are drawn one by one
  TileRule rule = {};
  std::optional<VerticalSlash> slash = {};  ///< in place of density
  Inputs inputs = {};
  /// Skip-softmax, of every sequence, in the geometry of the call, compared with the last call
  /// before it without. Unset: without.
  std::optional<float> lambda = {};
};

struct BenchOptions {
  int repeats = 9;
  double warm_up_ms = 0.0;  ///< of load before the first burst
  double burst_ms = 20.0;   ///< 300 and more reach the clock that the power limit sustains
};

struct BenchResult {
  double milliseconds;   ///< of one call: the median of `repeats` bursts
  double teraflops;      ///< per second, 4 * head_dim for each pair visited
  double mhz;            ///< SM clock right after the bursts
  double cycles;         ///< SM cycles for each 64 x 64 scores visited
  double skipped = 0.0;  ///< share of visited tiles; of calls with a lambda
  double speedup = 1.0;  ///< over the call compared with, likewise
  double error = 0.0;    ///< relative RMS difference of O, likewise
};

/// Times the calls in bursts that take turns, in an order that rotates, so that all meet the same
/// clock.
std::vector<BenchResult> Measure(const std::vector<BenchCall>& calls, const BenchOptions& options);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_BENCH_H_
