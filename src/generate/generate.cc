// The autoregressive loop.
#include "tamis/generate.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/check.h"
#include "generate/chunking.h"
#include "generate/stop_text.h"

namespace tamis {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool IsStop(const Tokenizer& tokenizer, int32_t id) {
  const auto stops = tokenizer.stop_ids();
  return std::find(stops.begin(), stops.end(), id) != stops.end();
}

void CheckOptions(const KvCache& cache, std::span<const int32_t> prompt,
                  const GenerateOptions& options) {
  Require(!prompt.empty(), "the prompt is empty: there is nothing to continue");
  Require(options.max_tokens >= 0, "max-tokens {} is negative; give 0 or more", options.max_tokens);
  Require(options.chunk >= kSmallestChunk, "chunk {} is out of range; give {} or more tokens",
          options.chunk, kSmallestChunk);
  const int64_t room = int64_t{cache.capacity()} - cache.positions();
  Require(static_cast<int64_t>(prompt.size()) <= room,
          "the prompt has {} tokens and the context has room for {}; shorten the prompt or raise "
          "--ctx to {} or more",
          prompt.size(), room, cache.positions() + prompt.size() + options.max_tokens);
}

/// Text on its way out: whole characters, stop texts held back.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const GenerateOptions& options,
             const GenerateCallbacks& callbacks, std::string& text)
      : decoder_(tokenizer), filter_(options.stop), on_text_(callbacks.on_text), text_(text) {}

  /// True once a stop text was met.
  bool Push(int32_t id) {
    Emit(filter_.Push(decoder_.Push(id)));
    return filter_.stopped();
  }
  /// True where the last bytes completed a stop text.
  bool Finish() {
    Emit(filter_.Push(decoder_.Finish()));
    Emit(filter_.Finish());
    return filter_.stopped();
  }

 private:
  void Emit(const std::string& ready) {
    if (ready.empty()) return;
    text_ += ready;
    if (on_text_) on_text_(ready);
  }

  StreamDecoder decoder_;
  StopTextFilter filter_;
  const std::function<void(std::string_view)>& on_text_;
  std::string& text_;
};

}  // namespace

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken:
      return "stop_token";
    case FinishReason::kStopText:
      return "stop_text";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  return "?";
}

double GenerateResult::prefill_tokens_per_second() const {
  return prefill_seconds > 0.0 ? prompt_tokens / prefill_seconds : 0.0;
}

double GenerateResult::decode_tokens_per_second() const {
  if (tokens.empty() || decode_seconds <= 0.0) return 0.0;
  // The first token belongs to the prefill; the step that drew a stop token counts.
  const size_t steps = tokens.size() - (finish == FinishReason::kStopToken ? 0 : 1);
  return static_cast<double>(steps) / decode_seconds;
}

GenerateResult Generate(Model& model, const Tokenizer& tokenizer, KvCache& cache,
                        PolicyAttention& attention, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const GenerateCallbacks& callbacks) {
  CheckOptions(cache, prompt, options);
  const auto interrupted = [&] { return callbacks.interrupted && callbacks.interrupted(); };
  Sampler sampler(options.sampling);
  GenerateResult result;
  TextStream stream(tokenizer, options, callbacks, result.text);

  const int64_t hidden_size = model.config().hidden;
  const auto total = static_cast<int32_t>(prompt.size());
  std::vector<float> hidden(std::min<int64_t>(total, int64_t{options.chunk} + 1) * hidden_size);
  std::vector<float> logits(model.config().vocab);
  // Checkpoints pad their vocabulary: ids past the tokenizer's stand for nothing.
  const std::span<const float> drawable =
      std::span(logits).first(std::min(logits.size(), size_t(tokenizer.vocab_size())));

  const Clock::time_point start = Clock::now();
  int32_t rows = 0;  // of the last chunk
  while (result.prompt_tokens < total) {
    if (interrupted()) {
      result.finish = FinishReason::kInterrupted;
      result.prefill_seconds = SecondsSince(start);
      return result;
    }
    rows = NextChunk(total - result.prompt_tokens, options.chunk);
    const SequenceStep step{prompt.subspan(result.prompt_tokens, rows), &cache};
    model.Forward({&step, 1}, attention, hidden.data());
    result.prompt_tokens += rows;
    if (callbacks.on_prefill) callbacks.on_prefill(result.prompt_tokens, total);
  }
  model.Logits(hidden.data() + (rows - 1) * hidden_size, 1, logits.data());
  result.prefill_seconds = SecondsSince(start);

  Clock::time_point first_token = Clock::now();
  bool stopped = false;
  while (!stopped) {
    if (static_cast<int64_t>(result.tokens.size()) >= options.max_tokens) {
      result.finish = FinishReason::kLength;
      break;
    }
    if (interrupted()) {
      result.finish = FinishReason::kInterrupted;
      break;
    }
    if (!result.tokens.empty()) {
      if (cache.positions() >= cache.capacity()) {
        result.finish = FinishReason::kContext;
        break;
      }
      const SequenceStep step{{&result.tokens.back(), 1}, &cache};
      model.Forward({&step, 1}, attention, hidden.data());
      model.Logits(hidden.data(), 1, logits.data());
    }
    const int32_t id = sampler.Sample(drawable);
    const bool is_stop = !options.ignore_stop_tokens && IsStop(tokenizer, id);
    if (is_stop) {
      result.finish = FinishReason::kStopToken;
    } else {
      result.tokens.push_back(id);
      if (stream.Push(id)) result.finish = FinishReason::kStopText;
    }
    if (result.time_to_first_token == 0.0) {
      result.time_to_first_token = SecondsSince(start);
      first_token = Clock::now();
    }
    stopped = is_stop || result.finish == FinishReason::kStopText;
  }
  if (!result.tokens.empty()) result.decode_seconds = SecondsSince(first_token);
  if (stream.Finish()) result.finish = FinishReason::kStopText;
  return result;
}

}  // namespace tamis
