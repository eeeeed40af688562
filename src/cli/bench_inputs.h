// Q, K and V for measuring attention.
#ifndef TAMIS_CLI_BENCH_INPUTS_H_
#define TAMIS_CLI_BENCH_INPUTS_H_

#include <cstdint>
#include <string_view>

#include "base/aligned_buffer.h"
#include "tamis/attention.h"

namespace tamis::cli {

enum class BenchInputs : uint8_t {
  /// What heads of trained models show: mass on the first tokens (sinks), on recent tokens (a local
  /// band), on a few keys that every query likes (stripes) and on one distant block per block of
  /// queries (needles), over noise; strengths differ between heads.
  kStructured,
  /// Independent normal values: the worst case of every method that looks for structure.
  kGaussian,
};
/// "structured" or "gaussian". Throws Error for another word.
BenchInputs ParseBenchInputs(std::string_view name);

struct BenchShape {
  int32_t q_heads = 32;
  int32_t kv_heads = 8;
  int32_t head_dim = 128;
  DType dtype = DType::kF32;
  int32_t query_tokens = 0;  ///< the last of key_tokens
  int32_t key_tokens = 0;
  Phase phase = Phase::kPrefill;
};

/// Tensors of one causal call of batch 1 as a model has them: Q and O [tokens][heads][head_dim], K
/// and V as in the KV cache, [heads][tokens][head_dim]. The same values for a shape on every
/// machine and number of threads.
class BenchTensors {
 public:
  /// Throws Error where tensors of this shape do not fit this machine's memory.
  static void CheckMemory(const BenchShape& shape);
  BenchTensors(const BenchShape& shape, BenchInputs inputs, ThreadPool& pool);
  AttentionArguments arguments() const;

 private:
  Strides query_strides() const;
  Strides key_strides() const;

  BenchShape shape_;
  AlignedBuffer q_, k_, v_, o_;
};

}  // namespace tamis::cli

#endif  // TAMIS_CLI_BENCH_INPUTS_H_
