// tamis bench model: prefill and decode of a whole model under policies.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/check.h"
#include "base/mapped_file.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "report/compare_report.h"
#include "report/memory.h"
#include "report/progress.h"
#include "report/samples.h"
#include "report/table.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

using Align = Column::Align;
using Json = nlohmann::ordered_json;

constexpr size_t kLargestText = size_t{256} << 20;

struct BenchModelOptions {
  ModelFlags model;
  std::vector<int32_t> prompt_tokens = {1024};
  int32_t generate_tokens = 32;
  std::vector<std::string> policies;
  std::string text;
  int rounds = 3;
  JsonFlag json;
};

void DeclareBenchModel(CLI::App& command, BenchModelOptions& options) {
  options.model.Declare(command);
  const auto add = [&](const char* name, auto& value, const char* help, const char* type) {
    return command.add_option(name, value, help)->type_name(type)->group("Benchmark");
  };
  add("--prompt-tokens", options.prompt_tokens, "Tokens of the prompt; several", "N...")
      ->check(CLI::Range(2, 1 << 24))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--generate-tokens", options.generate_tokens, "Tokens generated after it; 0: prefill only",
      "N")
      ->check(CLI::Range(0, 1 << 20));
  add("--policy", options.policies,
      "Preset[,key=value...], file or inline JSON, beside dense; several", "SPEC...")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--text", options.text,
      "Take the prompt from this file; without it ids are drawn at random, which shows no method "
      "the structure of text",
      "FILE");
  add("--rounds", options.rounds, "Timed rounds; the median counts", "N")
      ->check(CLI::Range(1, 1000));
  options.json.Declare(command);
  command.footer(R"(Examples:
  tamis bench model --model model.gguf --prompt-tokens 1024 8192 --text novel.txt
  tamis bench model --model model.gguf --prompt-tokens 8192 --text novel.txt \
      --policy xattention streaming --dtype bf16)");
}

/// One policy at one length.
struct Cell {
  std::string label;
  int32_t prompt_tokens = 0;
  std::vector<double> prefill_per_second, decode_per_second;
  ForwardTimes prefill, decode;  ///< seconds, of all rounds
  PhaseStatistics prefill_work, decode_work;
  size_t kv_bytes = 0;
  size_t workspace_bytes = 0;
  std::string path;
};

ForwardTimes Difference(const ForwardTimes& a, const ForwardTimes& b) {
  return {a.attention - b.attention, a.linear - b.linear, a.other - b.other};
}

void Add(ForwardTimes& sum, const ForwardTimes& times) {
  sum.attention += times.attention;
  sum.linear += times.linear;
  sum.other += times.other;
}

class ModelBench {
 public:
  ModelBench(const BenchModelOptions& options, Session& session,
             const std::vector<NamedPolicy>& policies)
      : options_(options), session_(session), policies_(policies) {}

  std::vector<Cell> Measure(std::span<const int32_t> prompt) {
    std::vector<Cell> cells;
    for (const NamedPolicy& policy : policies_) {
      cells.push_back({policy.label, static_cast<int32_t>(prompt.size())});
      attentions_.push_back(std::make_unique<PolicyAttention>(
          policy.policy, session_.model->policy_target(), session_.context));
    }
    const auto passes = static_cast<double>(policies_.size()) * (options_.rounds + 1);
    Progress progress("", passes * static_cast<double>(prompt.size()), "tokens");
    double read = 0.0;
    for (int round = -1; round < options_.rounds; ++round) {  // -1 warms up
      for (size_t i = 0; i < policies_.size(); ++i) {
        const size_t p = round % 2 == 0 ? i : policies_.size() - 1 - i;
        progress.SetTitle(
            fmt::format("{} tokens, {}", FormatCount(prompt.size()), policies_[p].label));
        const auto on_prefill = [&](int32_t done) { progress.Update(read + done); };
        Cell warm_up;
        Once(prompt, *attentions_[p], round < 0 ? warm_up : cells[p], on_prefill);
        read += static_cast<double>(prompt.size());
      }
    }
    attentions_.clear();
    return cells;
  }

 private:
  void Once(std::span<const int32_t> prompt, PolicyAttention& attention, Cell& cell,
            const std::function<void(int32_t)>& on_prefill) {
    Model& model = *session_.model;
    const std::unique_ptr<KvCache> cache =
        model.NewCache({.capacity = static_cast<int32_t>(prompt.size()) + options_.generate_tokens,
                        .dtype = session_.dtype,
                        .page_size = options_.model.page_size});
    GenerateOptions generate;
    generate.max_tokens = options_.generate_tokens;
    generate.chunk = options_.model.chunk;
    generate.ignore_stop_tokens = true;
    attention.ResetStatistics();
    model.ResetTimes();
    ForwardTimes prefill;
    GenerateCallbacks callbacks;
    callbacks.on_prefill = [&](int32_t done, int32_t) {
      prefill = model.times();
      on_prefill(done);
    };
    const GenerateResult result =
        Generate(model, *session_.tokenizer, *cache, attention, prompt, generate, callbacks);
    cell.prefill_per_second.push_back(result.prefill_tokens_per_second());
    if (result.tokens.size() > 1) {
      cell.decode_per_second.push_back(result.decode_tokens_per_second());
    }
    Add(cell.prefill, prefill);
    Add(cell.decode, Difference(model.times(), prefill));
    cell.prefill_work = attention.statistics().Total(Phase::kPrefill);
    cell.decode_work = attention.statistics().Total(Phase::kDecode);
    cell.kv_bytes = cache->bytes();
    cell.workspace_bytes = attention.workspace_bytes();
    cell.path = attention.path();
  }

  const BenchModelOptions& options_;
  Session& session_;
  const std::vector<NamedPolicy>& policies_;
  std::vector<std::unique_ptr<PolicyAttention>> attentions_;
};

/// `count` ids: the beginning of the file, or random ones.
std::vector<int32_t> PromptIds(const std::string& file, int32_t count, const Tokenizer& tokenizer) {
  if (!file.empty()) {
    std::vector<int32_t> ids = tokenizer.Encode(ReadFile(file, kLargestText));
    Require(ids.size() >= static_cast<size_t>(count),
            "--prompt-tokens {}: {} has only {} tokens; lower it or give a longer text", count,
            file, ids.size());
    ids.resize(static_cast<size_t>(count));
    return ids;
  }
  std::mt19937_64 random(1);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % static_cast<uint64_t>(tokenizer.vocab_size()));
  }
  return ids;
}

std::string Shares(const ForwardTimes& times) {
  const double total = times.attention + times.linear + times.other;
  if (total <= 0.0) return "-";
  return fmt::format("{:.0f} / {:.0f} / {:.0f}", 100.0 * times.attention / total,
                     100.0 * times.linear / total, 100.0 * times.other / total);
}

std::string Text(const std::vector<Cell>& cells, const Terminal& terminal) {
  Table table({{"prompt"},
               {"policy", Align::kLeft},
               {"tokens/s", Align::kRight, "prefill"},
               {"±", Align::kRight, "prefill"},
               {"speed", Align::kRight, "prefill"},
               {"density", Align::kRight, "prefill"},
               {"a / l / o %", Align::kRight, "prefill"},
               {"tokens/s", Align::kRight, "decode"},
               {"speed", Align::kRight, "decode"},
               {"a / l / o %", Align::kRight, "decode"}});
  const Cell* dense = &cells[0];
  for (const Cell& cell : cells) {
    if (cell.prompt_tokens != dense->prompt_tokens) {
      dense = &cell;
      table.AddGap();
    }
    const double prefill = Median(cell.prefill_per_second);
    const double decode = Median(cell.decode_per_second);
    table.AddRow(
        {FormatCount(cell.prompt_tokens), cell.label, FormatNumber(prefill),
         FormatPercent(0.5 * Spread(cell.prefill_per_second)),
         fmt::format("{:.2f}×", prefill / Median(dense->prefill_per_second)),
         FormatPercent(cell.prefill_work.counts.density()), Shares(cell.prefill),
         decode > 0.0 ? FormatNumber(decode) : "-",
         decode > 0.0 ? fmt::format("{:.2f}×", decode / Median(dense->decode_per_second)) : "-",
         Shares(cell.decode)});
  }
  return table.Render(terminal);
}

Json TimesJson(const ForwardTimes& times) {
  const double total = times.attention + times.linear + times.other;
  const double scale = total > 0.0 ? 1.0 / total : 0.0;
  return {{"attention", times.attention * scale},
          {"linear", times.linear * scale},
          {"other", times.other * scale}};
}

Json RowsJson(const std::vector<Cell>& cells) {
  Json rows = Json::array();
  const Cell* dense = &cells[0];
  for (const Cell& cell : cells) {
    if (cell.prompt_tokens != dense->prompt_tokens) dense = &cell;
    const double prefill = Median(cell.prefill_per_second);
    const bool decoded = !cell.decode_per_second.empty();
    const double decode = Median(cell.decode_per_second);
    rows.push_back({{"policy", cell.label},
                    {"prompt_tokens", cell.prompt_tokens},
                    {"prefill_tokens_per_s", prefill},
                    {"prefill_spread", Spread(cell.prefill_per_second)},
                    {"prefill_speedup", prefill / Median(dense->prefill_per_second)},
                    {"decode_tokens_per_s", decoded ? Json(decode) : Json(nullptr)},
                    {"decode_spread", Spread(cell.decode_per_second)},
                    {"decode_speedup",
                     decoded ? Json(decode / Median(dense->decode_per_second)) : Json(nullptr)},
                    {"prefill_time_shares", TimesJson(cell.prefill)},
                    {"decode_time_shares", TimesJson(cell.decode)},
                    {"prefill", PhaseJson(cell.prefill_work, false)},
                    {"decode", PhaseJson(cell.decode_work, false)},
                    {"kv_bytes", cell.kv_bytes},
                    {"workspace_bytes", cell.workspace_bytes},
                    {"path", cell.path}});
  }
  return rows;
}

int RunBenchModel(const BenchModelOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  std::vector<NamedPolicy> policies = {{"dense", Policy::Dense()}};
  for (NamedPolicy& policy : ParsePolicies(options.policies)) policies.push_back(std::move(policy));
  Session session(options.model);
  std::vector<std::vector<int32_t>> prompts;
  for (const int32_t count : options.prompt_tokens) {
    options.model.Capacity(session.model->config(), static_cast<size_t>(count),
                           options.generate_tokens, false);
    prompts.push_back(PromptIds(options.text, count, *session.tokenizer));
  }
  const bool human = !sink || !sink->to_stdout();
  if (human) {
    Print(fmt::format("{}\nchunks of {}, median of {}, prompt: {}\n\n", session.Summary(),
                      options.model.chunk, options.rounds,
                      options.text.empty()
                          ? "random ids"
                          : std::filesystem::path(options.text).filename().string()));
  }
  ModelBench bench(options, session, policies);
  std::vector<Cell> cells;
  for (const auto& prompt : prompts) {
    for (Cell& cell : bench.Measure(prompt)) cells.push_back(std::move(cell));
  }
  if (human) {
    Print(Text(cells, Terminal::Of(STDOUT_FILENO)));
    Print(
        fmt::format("\na / l / o: share of time in attention, linear layers, other\n"
                    "memory: weights {}, KV cache {}, scratch {}, peak resident {}\n",
                    FormatBytes(session.model->weight_bytes()), FormatBytes(cells.back().kv_bytes),
                    FormatBytes(session.model->scratch_bytes()), FormatBytes(PeakResidentBytes())));
  }
  if (sink) {
    Json json = Document("bench model");
    json.update(session.Json());
    json.update(Json{{"chunk", options.model.chunk},
                     {"rounds", options.rounds},
                     {"generate_tokens", options.generate_tokens},
                     {"text", options.text.empty() ? Json(nullptr) : Json(options.text)},
                     {"weight_bytes", session.model->weight_bytes()},
                     {"scratch_bytes", session.model->scratch_bytes()},
                     {"peak_resident_bytes", PeakResidentBytes()},
                     {"rows", RowsJson(cells)}});
    sink->Write(json);
  }
  return kOk;
}

}  // namespace

void RegisterBenchModel(CLI::App& bench, Action& action) {
  AddCommand<BenchModelOptions>(bench, "model", "A whole model: prefill and decode", action,
                                RunBenchModel, DeclareBenchModel);
}

}  // namespace tamis::cli
