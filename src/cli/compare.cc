// tamis compare: dense against policies.
#include "report/compare.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/prompt.h"
#include "report/compare_report.h"
#include "report/memory.h"
#include "report/progress.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

struct CompareCommandOptions {
  ModelFlags model;
  PromptFlags prompt;
  std::vector<std::string> policies;
  CompareOptions compare;
  JsonFlag json;
};

void DeclareCompare(CLI::App& command, CompareCommandOptions& options) {
  options.model.Declare(command);
  options.prompt.Declare(command);
  command
      .add_option("--policy", options.policies,
                  "Preset[,key=value...], file or inline JSON, beside dense; repeatable")
      ->type_name("SPEC...")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Comparison");
  command.add_option("--max-tokens", options.compare.max_tokens, "Generate at most N tokens")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20))
      ->group("Comparison");
  command
      .add_option("--rounds", options.compare.rounds,
                  "Timed generations of each; the median counts")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->group("Comparison");
  command.add_option("--stop", options.compare.stop, "Stop before this text; repeatable")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Comparison");
  options.json.Declare(command);
  command.footer(
      R"(Every policy and dense attention generate greedily from the same prompt, in one process, in
alternating order after a warm-up. Then each reads the prompt and dense's own text once more, and
its next-token distributions are held against dense's at every position.

Examples:
  tamis compare --model model.gguf --prompt-file novel.txt --prompt-tokens 4000 \
      --question "Who is Mr. Bingley?" --policy xattention --policy streaming
  tamis compare --model model.gguf --prompt-file novel.txt --rounds 3 \
      --policy xattention,prefill.selector.threshold=0.8 xattention skip-softmax)");
}

int RunCompare(const CompareCommandOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const std::vector<NamedPolicy> policies = ParsePolicies(options.policies);
  Session session(options.model);
  const std::vector<int32_t> prompt = options.prompt.Encode(*session.tokenizer);
  options.model.Capacity(session.model->config(), prompt.size(), options.compare.max_tokens, false);

  CompareOptions compare = options.compare;
  compare.chunk = options.model.chunk;
  compare.cache_dtype = session.dtype;
  compare.page_size = options.model.page_size;
  const std::string heading =
      fmt::format("{} tokens of prompt, {}", FormatCount(prompt.size()), session.Summary());
  const bool human = !sink || !sink->to_stdout();
  if (human) Print(heading + "\n\n");

  CompareResult result;
  {
    Progress progress("", 1.0);
    result = Compare(*session.model, *session.tokenizer, session.context, prompt, policies, compare,
                     [&](std::string_view stage, double done, double total) {
                       progress.SetTitle(stage);
                       progress.Update(done / total);
                     });
  }
  if (human) {
    const Terminal terminal = Terminal::Of(STDOUT_FILENO);
    Print(CompareTexts(result, terminal) + '\n' + CompareTables(result, terminal));
    Print(fmt::format("\nmemory: weights {}, scratch {}, peak resident {}\n",
                      FormatBytes(session.model->weight_bytes()),
                      FormatBytes(session.model->scratch_bytes()),
                      FormatBytes(PeakResidentBytes())));
  }
  if (sink) {
    nlohmann::ordered_json json = Document("compare");
    json.update(session.Json());
    json["rounds"] = compare.rounds;
    json["max_tokens"] = compare.max_tokens;
    json["chunk"] = compare.chunk;
    json.update(CompareJson(result));
    json["memory"] = {{"weight_bytes", session.model->weight_bytes()},
                      {"scratch_bytes", session.model->scratch_bytes()},
                      {"peak_resident_bytes", PeakResidentBytes()}};
    sink->Write(json);
  }
  return kOk;
}

}  // namespace

void RegisterCompare(CLI::App& app, Action& action) {
  AddCommand<CompareCommandOptions>(app, "compare", "Hold policies against dense attention", action,
                                    RunCompare, DeclareCompare);
}

}  // namespace tamis::cli
