// The comparison of policies against dense attention on one prompt, in one process.
#ifndef TAMIS_REPORT_COMPARE_H_
#define TAMIS_REPORT_COMPARE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/divergence.h"
#include "tamis/generate.h"
#include "tamis/model.h"
#include "tamis/policy.h"

namespace tamis {

struct NamedPolicy {
  std::string label;
  Policy policy;
};

struct CompareOptions {
  int32_t max_tokens = 64;
  int32_t rounds = 1;    ///< timed generations of each policy
  int32_t chunk = 1024;  ///< tokens of one prefill step
  DType cache_dtype = DType::kF32;
  int32_t page_size = 0;
  std::vector<std::string> stop;
};

/// One policy's part of the result; the first row is dense.
struct CompareRow {
  std::string label;
  std::string document;  ///< the policy's canonical JSON
  std::string path;      ///< kernels that ran: "cpu/avx512-bf16"

  GenerateResult generation;               ///< greedy; the same in every round
  std::vector<double> first_token;         ///< seconds to the first token, by round
  std::vector<double> prefill_per_second;  ///< tokens, by round
  std::vector<double> decode_per_second;   ///< tokens, by round; empty where too few were drawn
  size_t kv_bytes = 0;
  size_t workspace_bytes = 0;
  /// Leading tokens equal to dense's.
  int32_t same_tokens = 0;

  /// Of the quality pass: the prompt in chunks, then dense's continuation token by token.
  PhaseStatistics prefill, decode;
  Divergence prompt;        ///< rows that read the prompt
  Divergence continuation;  ///< rows that read dense's continuation
};

struct CompareResult {
  int32_t prompt_tokens = 0;
  int32_t continuation_tokens = 0;
  std::vector<CompareRow> rows;
};

/// Called between steps with what runs now, and work done and in all (in prompt tokens).
using CompareProgress = std::function<void(std::string_view stage, double done, double total)>;

/// Compares dense attention with `policies`. First every policy reads a little, unmeasured. Then
/// `rounds` times every policy generates greedily, timed, in alternating order. Then the quality
/// pass: every policy reads the prompt and, forced, dense's continuation; hidden states of all
/// positions stay in memory (4 bytes x hidden x positions x policies), logits are computed from
/// them in blocks of rows, so that one block at a time is held. Throws Error where the prompt and
/// max_tokens do not fit the model's positions, or a policy does not fit the model.
CompareResult Compare(Model& model, const Tokenizer& tokenizer, const ExecutionContext& context,
                      std::span<const int32_t> prompt, std::span<const NamedPolicy> policies,
                      const CompareOptions& options, const CompareProgress& progress = {});

}  // namespace tamis

#endif  // TAMIS_REPORT_COMPARE_H_
