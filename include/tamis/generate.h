// The autoregressive loop: chunked prefill, sampling, stopping, timing.
#ifndef TAMIS_GENERATE_H_
#define TAMIS_GENERATE_H_

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/model.h"
#include "tamis/policy.h"
#include "tamis/tokenizer.h"

namespace tamis {

struct SamplingOptions {
  double temperature = 0.0;  ///< 0: greedy, ties to the lowest id
  int32_t top_k = 0;         ///< 0: all
  double top_p = 1.0;        ///< (0, 1]
  uint64_t seed = 0;
};

/// Draws tokens. Deterministic for a seed on every platform.
class Sampler {
 public:
  /// Throws Error for options out of range.
  explicit Sampler(const SamplingOptions& options);
  int32_t Sample(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 generator_;
  std::vector<std::pair<float, int32_t>> scratch_;
};

enum class FinishReason : uint8_t { kStopToken, kStopText, kLength, kContext, kInterrupted };
std::string_view Name(FinishReason reason);

struct GenerateOptions {
  int32_t max_tokens = 256;
  int32_t chunk = 1024;  ///< tokens of one prefill step
  SamplingOptions sampling;
  std::vector<std::string> stop;  ///< texts that end the generation; left out of the result
  bool ignore_stop_tokens = false;
};

struct GenerateCallbacks {
  /// Text as it becomes final (never part of a stop text, never half a character).
  std::function<void(std::string_view)> on_text;
  /// Prompt tokens done and in all, after each chunk.
  std::function<void(int32_t done, int32_t total)> on_prefill;
  /// Asked before each chunk and token; true ends the generation.
  std::function<bool()> interrupted;
};

struct GenerateResult {
  std::vector<int32_t> tokens;  ///< generated ids, the stop token left out
  std::string text;
  FinishReason finish = FinishReason::kLength;
  int32_t prompt_tokens = 0;
  double prefill_seconds = 0.0;      ///< prompt to first token's logits
  double time_to_first_token = 0.0;  ///< seconds, sampling included
  double decode_seconds = 0.0;       ///< after the first token
  double prefill_tokens_per_second() const;
  double decode_tokens_per_second() const;
};

/// Extends `cache` (usually empty) by the prompt and generates. Throws Error where the prompt does
/// not fit the cache's capacity.
GenerateResult Generate(Model& model, const Tokenizer& tokenizer, KvCache& cache,
                        PolicyAttention& attention, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const GenerateCallbacks& callbacks = {});

}  // namespace tamis

#endif  // TAMIS_GENERATE_H_
