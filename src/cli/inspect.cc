// tamis inspect: what a checkpoint holds.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "report/table.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

using Align = Column::Align;
using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model;
  bool tensors = false;
  int32_t context = 0;
  JsonFlag json;
};

void DeclareInspect(CLI::App& command, InspectOptions& options) {
  command.add_option("--model", options.model, "GGUF file, or directory with config.json")
      ->type_name("PATH")
      ->required();
  command.add_flag("--tensors", options.tensors, "List every tensor");
  command
      .add_option("--ctx", options.context,
                  "Estimate memory for N tokens of context; 0: what the model was trained on")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 28));
  options.json.Declare(command);
  command.footer(R"(Examples:
  tamis inspect --model model.gguf
  tamis inspect --model model.gguf --tensors --json)");
}

/// Bytes of keys and values of `tokens` tokens.
size_t KvBytes(const ModelConfig& config, int64_t tokens, DType dtype) {
  return static_cast<size_t>(2 * config.layers) * static_cast<size_t>(config.kv_heads) *
         static_cast<size_t>(config.head_dim) * static_cast<size_t>(tokens) * SizeOf(dtype);
}

/// Tensors and bytes of each storage type.
std::map<std::string, std::pair<int64_t, size_t>> ByType(const CheckpointSummary& summary) {
  std::map<std::string, std::pair<int64_t, size_t>> types;
  for (const TensorSummary& tensor : summary.tensors) {
    auto& [count, bytes] = types[tensor.type];
    ++count;
    bytes += tensor.bytes;
  }
  return types;
}

/// What `tamis run` takes at its largest, within a few per cent: weights, cache, activations of a
/// chunk, packed keys and values of one layer, and the program with its tokenizer.
size_t RunBytes(const CheckpointSummary& summary, int64_t context, DType dtype) {
  constexpr size_t kPacked = size_t{192} << 20;  // the executor packs no more at a time
  constexpr size_t kProgram = size_t{48} << 20;
  const ModelConfig& config = summary.config;
  const auto element = static_cast<int64_t>(SizeOf(dtype));
  const int64_t q_size = int64_t{config.q_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.kv_heads} * config.head_dim;
  const int64_t row =
      config.hidden * (4 + element) + (2 * q_size + 2 * kv_size + config.feed_forward) * element;
  const auto activations =
      static_cast<size_t>(std::min<int64_t>(ModelFlags().chunk, context) * row);
  const auto packed = static_cast<size_t>(context * 2 * kv_size * element);
  return summary.bytes + KvBytes(config, context, dtype) + activations + std::min(kPacked, packed) +
         kProgram;
}

std::string Text(const CheckpointSummary& summary, const std::string& tokenizer, int64_t context,
                 bool tensors, const Terminal& terminal) {
  const ModelConfig& config = summary.config;
  std::vector<std::string> features;
  if (config.tied_embeddings) features.emplace_back("tied embeddings");
  if (config.qkv_bias) features.emplace_back("biases on q, k, v");
  if (config.qk_norm) features.emplace_back("norms on q and k");
  std::string rope = fmt::format("theta {:g}", config.rope.theta);
  if (config.rope.factor != 1.0) {
    rope += fmt::format(", Llama 3 scaling by {:g} from {} positions", config.rope.factor,
                        FormatCount(config.rope.original_max_positions));
  }
  std::vector<std::string> types;
  for (const auto& [type, sums] : ByType(summary)) {
    types.push_back(fmt::format("{} {} ({})", sums.first, type, FormatBytes(sums.second)));
  }
  Table table({{config.name, Align::kLeft}, {summary.format, Align::kLeft}});
  table.AddRow({"architecture", std::string(Name(config.architecture))});
  table.AddRow({"parameters", FormatMagnitude(summary.parameters)});
  table.AddRow({"layers", fmt::format("{}, hidden {}, feed-forward {}", config.layers,
                                      config.hidden, config.feed_forward)});
  table.AddRow({"attention", fmt::format("{} query heads, {} KV heads, head_dim {}", config.q_heads,
                                         config.kv_heads, config.head_dim)});
  table.AddRow({"positions", FormatCount(config.max_positions)});
  table.AddRow({"rope", rope});
  if (!features.empty()) table.AddRow({"with", fmt::format("{}", fmt::join(features, ", "))});
  table.AddRow({"vocabulary", FormatCount(config.vocab)});
  table.AddRow({"tokenizer", tokenizer});
  table.AddRow({"tensors", fmt::format("{}", fmt::join(types, ", "))});
  table.AddRow({"weights", FormatBytes(summary.bytes)});
  table.AddRow({"KV cache", fmt::format("{} (f32) or {} (bf16) at {} tokens",
                                        FormatBytes(KvBytes(config, context, DType::kF32)),
                                        FormatBytes(KvBytes(config, context, DType::kBF16)),
                                        FormatCount(context))});
  table.AddRow(
      {"memory to run", fmt::format("{} (f32) or {} (bf16), all counted",
                                    FormatBytes(RunBytes(summary, context, DType::kF32)),
                                    FormatBytes(RunBytes(summary, context, DType::kBF16)))});
  std::string out = table.Render(terminal);
  if (!tensors) return out;
  Table list(
      {{"tensor", Align::kLeft}, {"type", Align::kLeft}, {"shape", Align::kLeft}, {"bytes"}});
  for (const TensorSummary& tensor : summary.tensors) {
    list.AddRow({tensor.name, tensor.type, fmt::format("{}", fmt::join(tensor.shape, " x ")),
                 FormatBytes(tensor.bytes)});
  }
  return out + '\n' + list.Render(terminal);
}

Json InspectJson(const CheckpointSummary& summary, const std::string& tokenizer, int64_t context,
                 bool tensors) {
  const ModelConfig& config = summary.config;
  Json json = Document("inspect");
  json.update(Json{{"format", summary.format},
                   {"name", config.name},
                   {"architecture", Name(config.architecture)},
                   {"parameters", summary.parameters},
                   {"weight_bytes", summary.bytes},
                   {"layers", config.layers},
                   {"hidden", config.hidden},
                   {"feed_forward", config.feed_forward},
                   {"q_heads", config.q_heads},
                   {"kv_heads", config.kv_heads},
                   {"head_dim", config.head_dim},
                   {"vocab", config.vocab},
                   {"max_positions", config.max_positions},
                   {"rope_theta", config.rope.theta},
                   {"rope_factor", config.rope.factor},
                   {"rms_epsilon", config.rms_epsilon},
                   {"qkv_bias", config.qkv_bias},
                   {"qk_norm", config.qk_norm},
                   {"tied_embeddings", config.tied_embeddings},
                   {"tokenizer", tokenizer},
                   {"context", context},
                   {"kv_bytes",
                    {{"f32", KvBytes(config, context, DType::kF32)},
                     {"bf16", KvBytes(config, context, DType::kBF16)}}},
                   {"run_bytes",
                    {{"f32", RunBytes(summary, context, DType::kF32)},
                     {"bf16", RunBytes(summary, context, DType::kBF16)}}}});
  for (const auto& [type, sums] : ByType(summary)) {
    json["types"][type] = {{"tensors", sums.first}, {"bytes", sums.second}};
  }
  if (!tensors) return json;
  json["tensors"] = Json::array();
  for (const TensorSummary& tensor : summary.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"type", tensor.type},
                               {"shape", tensor.shape},
                               {"bytes", tensor.bytes}});
  }
  return json;
}

int RunInspect(const InspectOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const CheckpointSummary summary = InspectCheckpoint(options.model);
  std::string tokenizer;
  try {
    tokenizer = LoadTokenizer(options.model)->Summary();
  } catch (const Error& error) {
    // A checkpoint without a usable tokenizer is still worth looking at.
    tokenizer = fmt::format("none: {}", error.what());
  }
  const int64_t context = options.context > 0 ? options.context : summary.config.max_positions;
  if (!sink || !sink->to_stdout()) {
    Print(Text(summary, tokenizer, context, options.tensors, Terminal::Of(STDOUT_FILENO)));
  }
  if (sink) sink->Write(InspectJson(summary, tokenizer, context, options.tensors));
  return kOk;
}

}  // namespace

void RegisterInspect(CLI::App& app, Action& action) {
  AddCommand<InspectOptions>(app, "inspect", "Show what a checkpoint holds", action, RunInspect,
                             DeclareInspect);
}

}  // namespace tamis::cli
