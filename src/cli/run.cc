// tamis run: generate text.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/prompt.h"
#include "report/compare_report.h"
#include "report/memory.h"
#include "report/progress.h"
#include "report/table.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

struct RunOptions {
  ModelFlags model;
  PromptFlags prompt;
  std::string policy = "dense";
  std::vector<std::string> settings;
  GenerateOptions generate;
  JsonFlag json;
};

void DeclareRun(CLI::App& command, RunOptions& options) {
  options.model.Declare(command);
  options.prompt.Declare(command);
  command
      .add_option("--policy", options.policy,
                  "Which attention to compute: preset, file or inline JSON; see tamis policy list")
      ->type_name("SPEC")
      ->group("Attention");
  command
      .add_option("--set", options.settings,
                  "Change the policy: --set prefill.selector.threshold=0.8; repeatable")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Attention");
  GenerateOptions& generate = options.generate;
  const auto add = [&](const char* name, auto& value, const char* help, const char* type) {
    return command.add_option(name, value, help)->type_name(type)->group("Generation");
  };
  add("--max-tokens", generate.max_tokens, "Generate at most N tokens", "N")
      ->check(CLI::Range(0, 1 << 28));
  add("--stop", generate.stop, "Stop before this text; repeatable", "TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--temperature", generate.sampling.temperature, "0: always the likeliest token", "T");
  add("--top-k", generate.sampling.top_k, "Sample among the K likeliest tokens; 0: all", "K");
  add("--top-p", generate.sampling.top_p, "Sample among the fewest tokens that hold P", "P");
  add("--seed", generate.sampling.seed, "Equal seeds draw equal texts", "N");
  options.json.Declare(command);
  command.footer(
      R"(Text goes to stdout as it is generated, timings to stderr. The first Ctrl-C ends the generation.

Examples:
  tamis run --model model.gguf --prompt "Why is the sky blue?"
  tamis run --model model.gguf --prompt-file novel.txt --question "Who is Mr. Bingley?"
  tamis run --model model.gguf --prompt-file novel.txt --policy xattention --json
  echo "Once upon a time" | tamis run --model model.gguf --raw --temperature 0.8 --seed 7)");
}

std::string FinishText(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken:
      return "the model ended its turn";
    case FinishReason::kStopText:
      return "stop text";
    case FinishReason::kLength:
      return "--max-tokens reached";
    case FinishReason::kContext:
      return "context full; raise --ctx";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  return "";
}

std::string AttentionText(const PhaseStatistics& phase) {
  if (phase.counts.allowed_pairs == 0) return "";
  return fmt::format("density {}, skipped {}, kept {}", FormatPercent(phase.counts.density()),
                     FormatPercent(phase.counts.skipped_share()),
                     FormatPercent(KeptShare(phase.counts)));
}

/// The block of timings that ends a run.
std::string Timings(const Session& session, const std::string& label, const GenerateResult& result,
                    const PolicyAttention& attention, const KvCache& cache,
                    const Terminal& terminal) {
  using Align = Column::Align;
  Table table(
      {{"", Align::kLeft}, {"tokens"}, {"time"}, {"tokens/s"}, {"attention", Align::kLeft}});
  const PolicyStatistics& statistics = attention.statistics();
  table.AddRow({"prompt", FormatCount(result.prompt_tokens), FormatSeconds(result.prefill_seconds),
                FormatNumber(result.prefill_tokens_per_second()),
                AttentionText(statistics.Total(Phase::kPrefill))});
  const double rate = result.decode_tokens_per_second();
  table.AddRow({"generated", FormatCount(static_cast<int64_t>(result.tokens.size())),
                FormatSeconds(result.decode_seconds), rate > 0.0 ? FormatNumber(rate) : "-",
                AttentionText(statistics.Total(Phase::kDecode))});
  std::string out = '\n' + table.Render(terminal);
  out += fmt::format("{}, {}; policy {} on {}; ended: {}\n", session.model->config().name,
                     Name(session.dtype), label, attention.path(), FinishText(result.finish));
  out += fmt::format("memory: weights {}, KV cache {}, workspace {}, peak resident {}\n",
                     FormatBytes(session.model->weight_bytes()), FormatBytes(cache.bytes()),
                     FormatBytes(session.model->scratch_bytes() + attention.workspace_bytes()),
                     FormatBytes(PeakResidentBytes()));
  return out;
}

nlohmann::ordered_json RunJson(const Session& session, const NamedPolicy& policy,
                               const GenerateResult& result, const PolicyAttention& attention,
                               const KvCache& cache) {
  using Json = nlohmann::ordered_json;
  Json json = Document("run");
  json.update(session.Json());
  const double rate = result.decode_tokens_per_second();
  json.update(Json{{"policy", policy.label},
                   {"policy_document", Json::parse(policy.policy.ToJson())},
                   {"path", attention.path()},
                   {"text", result.text},
                   {"tokens", result.tokens},
                   {"prompt_tokens", result.prompt_tokens},
                   {"finish_reason", Name(result.finish)},
                   {"time_to_first_token_s", result.time_to_first_token},
                   {"prefill_s", result.prefill_seconds},
                   {"decode_s", result.decode_seconds},
                   {"prefill_tokens_per_s", result.prefill_tokens_per_second()},
                   {"decode_tokens_per_s", rate > 0.0 ? Json(rate) : Json(nullptr)},
                   {"prefill", PhaseJson(attention.statistics().Total(Phase::kPrefill), false)},
                   {"decode", PhaseJson(attention.statistics().Total(Phase::kDecode), false)},
                   {"memory",
                    {{"weight_bytes", session.model->weight_bytes()},
                     {"kv_bytes", cache.bytes()},
                     {"scratch_bytes", session.model->scratch_bytes()},
                     {"workspace_bytes", attention.workspace_bytes()},
                     {"peak_resident_bytes", PeakResidentBytes()}}}});
  return json;
}

int Run(const RunOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const bool stream = !sink || !sink->to_stdout();
  const NamedPolicy policy = ParsePolicy(options.policy, options.settings);
  Sampler{options.generate.sampling};  // refuses bad options before the model is loaded
  Session session(options.model);
  const std::vector<int32_t> prompt = options.prompt.Encode(*session.tokenizer);
  const int32_t capacity = options.model.Capacity(session.model->config(), prompt.size(),
                                                  options.generate.max_tokens, true);
  PolicyAttention attention(policy.policy, session.model->policy_target(), session.context);
  const std::unique_ptr<KvCache> cache = session.model->NewCache(
      {.capacity = capacity, .dtype = session.dtype, .page_size = options.model.page_size});

  GenerateOptions generate = options.generate;
  generate.chunk = options.model.chunk;
  Progress progress("reading", static_cast<double>(prompt.size()), "tokens");
  GenerateCallbacks callbacks;
  callbacks.on_prefill = [&](int32_t done, int32_t total) {
    progress.Update(done);
    if (done == total) progress.Clear();
  };
  callbacks.on_text = [&](std::string_view text) {
    if (stream) Print(std::string(text));
  };
  callbacks.interrupted = Interrupted;
  CatchInterrupt();
  const GenerateResult result =
      Generate(*session.model, *session.tokenizer, *cache, attention, prompt, generate, callbacks);
  progress.Clear();

  if (stream && !result.text.empty() && result.text.back() != '\n') Print("\n");
  fmt::print(
      stderr, "{}",
      Timings(session, policy.label, result, attention, *cache, Terminal::Of(STDERR_FILENO)));
  if (sink) sink->Write(RunJson(session, policy, result, attention, *cache));
  return result.finish == FinishReason::kInterrupted ? kInterrupted : kOk;
}

}  // namespace

void RegisterRun(CLI::App& app, Action& action) {
  AddCommand<RunOptions>(app, "run", "Generate text from a prompt", action, Run, DeclareRun);
}

}  // namespace tamis::cli
