#include "report/compare_report.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "report/samples.h"
#include "report/side_by_side.h"
#include "report/table.h"
#include "report/text_width.h"
#include "report/units.h"

namespace tamis {
namespace {

using Align = Column::Align;
using Json = nlohmann::ordered_json;

std::string Ratio(double numerator, double denominator) {
  if (denominator <= 0.0 || numerator <= 0.0) return "-";
  return fmt::format("{:.2f}×", numerator / denominator);
}

std::string Rate(double per_second) { return per_second > 0.0 ? FormatNumber(per_second) : "-"; }

Table TimeTable(const CompareResult& result) {
  const bool rounds = result.rows[0].first_token.size() > 1;
  std::vector<Column> columns = {{"policy", Align::kLeft},
                                 {"first token", Align::kRight, "prompt"},
                                 {"speed", Align::kRight, "prompt"},
                                 {"tokens/s", Align::kRight, "generation"},
                                 {"speed", Align::kRight, "generation"},
                                 {"KV cache", Align::kRight, "memory"},
                                 {"workspace", Align::kRight, "memory"}};
  if (rounds) columns.insert(columns.begin() + 2, {"±", Align::kRight, "prompt"});
  Table table(std::move(columns));
  const double dense_first = Median(result.rows[0].first_token);
  const double dense_rate = Median(result.rows[0].decode_per_second);
  for (const CompareRow& row : result.rows) {
    const double first = Median(row.first_token);
    const double rate = Median(row.decode_per_second);
    std::vector<std::string> cells = {row.label,
                                      FormatSeconds(first),
                                      Ratio(dense_first, first),
                                      Rate(rate),
                                      Ratio(rate, dense_rate),
                                      FormatBytes(row.kv_bytes),
                                      FormatBytes(row.workspace_bytes)};
    if (rounds) {
      cells.insert(cells.begin() + 2, FormatPercent(0.5 * Spread(row.first_token)));
    }
    table.AddRow(std::move(cells));
  }
  return table;
}

void AppendWork(const PhaseStatistics& phase, std::vector<std::string>& cells) {
  if (phase.counts.allowed_pairs == 0) {
    cells.insert(cells.end(), 4, "-");
    return;
  }
  cells.push_back(FormatPercent(phase.counts.density()));
  cells.push_back(FormatPercent(phase.counts.skipped_share()));
  cells.push_back(FormatPercent(KeptShare(phase.counts)));
  cells.push_back(FormatPercent(phase.retained_mass()));
}

Table WorkTable(const CompareResult& result) {
  std::vector<Column> columns = {{"policy", Align::kLeft}};
  for (const char* phase : {"prompt (prefill)", "generation (decode)"}) {
    for (const char* title : {"density", "skipped", "kept", "mass"}) {
      columns.push_back({title, Align::kRight, phase});
    }
  }
  Table table(std::move(columns));
  for (const CompareRow& row : result.rows) {
    std::vector<std::string> cells = {row.label};
    AppendWork(row.prefill, cells);
    AppendWork(row.decode, cells);
    table.AddRow(std::move(cells));
  }
  return table;
}

std::string PerplexityChange(double perplexity, double dense, bool is_dense) {
  if (!std::isfinite(perplexity)) return "-";
  if (is_dense) return FormatNumber(perplexity);
  const double tenths = std::round(1000.0 * (perplexity / dense - 1.0)) + 0.0;  // no "-0.0"
  return fmt::format("{} {:+.1f}%", FormatNumber(perplexity), tenths / 10.0);
}

void AppendQuality(const Divergence& divergence, std::vector<std::string>& cells) {
  if (divergence.positions == 0) {
    cells.insert(cells.end(), 3, "-");
    return;
  }
  cells.push_back(FormatPercent(divergence.top1_agreement()));
  cells.push_back(FormatSmall(divergence.kl_mean()));
  cells.push_back(FormatSmall(divergence.kl_max));
}

Table QualityTable(const CompareResult& result) {
  const std::string prompt = fmt::format("prompt, {} positions", FormatCount(result.prompt_tokens));
  const std::string forced =
      fmt::format("dense's text, {}", FormatCount(result.continuation_tokens));
  Table table({{"policy", Align::kLeft},
               {"top-1", Align::kRight, prompt},
               {"KL", Align::kRight, prompt},
               {"max KL", Align::kRight, prompt},
               {"perplexity", Align::kRight, prompt},
               {"top-1", Align::kRight, forced},
               {"KL", Align::kRight, forced},
               {"max KL", Align::kRight, forced}});
  const double dense = result.rows[0].prompt.perplexity();
  for (const CompareRow& row : result.rows) {
    std::vector<std::string> cells = {row.label};
    AppendQuality(row.prompt, cells);
    cells.push_back(PerplexityChange(row.prompt.perplexity(), dense, &row == &result.rows[0]));
    AppendQuality(row.continuation, cells);
    table.AddRow(std::move(cells));
  }
  return table;
}

Json DivergenceJson(const Divergence& divergence) {
  Json json = {{"positions", divergence.positions},
               {"top1_agreement", divergence.top1_agreement()},
               {"kl_mean", divergence.kl_mean()},
               {"kl_max", divergence.kl_max}};
  const double perplexity = divergence.perplexity();
  json["perplexity"] = std::isfinite(perplexity) ? Json(perplexity) : Json(nullptr);
  return json;
}

}  // namespace

double KeptShare(const AttentionCounts& counts) {
  return counts.allowed_pairs == 0
             ? 1.0
             : static_cast<double>(counts.kept_pairs) / static_cast<double>(counts.allowed_pairs);
}

double SelectShare(const PhaseStatistics& statistics) {
  const double total = statistics.select_seconds + statistics.attend_seconds;
  return total > 0.0 ? statistics.select_seconds / total : 0.0;
}

std::string CompareTexts(const CompareResult& result, const Terminal& terminal) {
  const CompareRow& dense = result.rows[0];
  std::string out = terminal.Bold("dense") + " says:\n";
  for (const std::string& line : WrapText(dense.generation.text, terminal.columns - 2)) {
    out += line.empty() ? "\n" : "  " + line + '\n';
  }
  std::string same;
  for (size_t i = 1; i < result.rows.size(); ++i) {
    if (result.rows[i].generation.text != dense.generation.text) continue;
    same += (same.empty() ? "" : ", ") + result.rows[i].label;
  }
  if (!same.empty()) out += "\nThe same text: " + same + '\n';
  for (size_t i = 1; i < result.rows.size(); ++i) {
    const CompareRow& row = result.rows[i];
    if (row.generation.text == dense.generation.text) continue;
    out += fmt::format("\n{}: the first {} of dense's {} tokens are the same\n",
                       terminal.Bold(row.label), row.same_tokens, dense.generation.tokens.size());
    out += SideBySide("dense", dense.generation.text, row.label, row.generation.text, terminal);
  }
  return out;
}

std::string CompareTables(const CompareResult& result, const Terminal& terminal) {
  std::string out = terminal.Bold("Time and memory") + " (speed: against dense)\n";
  out += TimeTable(result).Render(terminal);
  out += '\n' + terminal.Bold("Attention computed") +
         " (density: pairs visited; skipped: tiles a rule dropped;\n"
         "kept: pairs left in the end; mass: softmax probability they hold)\n";
  out += WorkTable(result).Render(terminal);
  out += '\n' + terminal.Bold("Quality against dense") +
         " (top-1: same best token; KL: nats, mean and largest)\n";
  out += QualityTable(result).Render(terminal);
  return out;
}

Json PhaseJson(const PhaseStatistics& statistics, bool with_retained_mass) {
  const AttentionCounts& counts = statistics.counts;
  Json json = {{"density", counts.density()},
               {"skipped_share", counts.skipped_share()},
               {"kept_share", KeptShare(counts)}};
  if (with_retained_mass) json["retained_mass"] = statistics.retained_mass();
  json["select_share"] = SelectShare(statistics);
  json["select_seconds"] = statistics.select_seconds;
  json["attend_seconds"] = statistics.attend_seconds;
  json["allowed_pairs"] = counts.allowed_pairs;
  json["visited_pairs"] = counts.visited_pairs;
  json["kept_pairs"] = counts.kept_pairs;
  json["visited_tiles"] = counts.visited_tiles;
  json["skipped_tiles"] = counts.skipped_tiles;
  json["lambda_saturated"] = counts.lambda_saturated;
  return json;
}

Json CompareJson(const CompareResult& result) {
  Json rows = Json::array();
  const double dense_first = Median(result.rows[0].first_token);
  for (const CompareRow& row : result.rows) {
    const GenerateResult& generation = row.generation;
    Json json = {
        {"policy", row.label},
        {"document", Json::parse(row.document)},
        {"path", row.path},
        {"text", generation.text},
        {"tokens", generation.tokens},
        {"finish_reason", Name(generation.finish)},
        {"same_tokens_as_dense", row.same_tokens},
        {"time_to_first_token_s", Median(row.first_token)},
        {"time_to_first_token_spread", Spread(row.first_token)},
        {"speedup_to_first_token", dense_first / Median(row.first_token)},
        {"prefill_tokens_per_s", Median(row.prefill_per_second)},
        {"decode_tokens_per_s",
         row.decode_per_second.empty() ? Json(nullptr) : Json(Median(row.decode_per_second))},
        {"kv_bytes", row.kv_bytes},
        {"workspace_bytes", row.workspace_bytes},
        {"prefill", PhaseJson(row.prefill, true)},
        {"decode", PhaseJson(row.decode, true)},
        {"prompt_quality", DivergenceJson(row.prompt)},
        {"continuation_quality", DivergenceJson(row.continuation)}};
    rows.push_back(std::move(json));
  }
  return {{"prompt_tokens", result.prompt_tokens},
          {"continuation_tokens", result.continuation_tokens},
          {"rows", std::move(rows)}};
}

}  // namespace tamis
