#include "cli/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "generate/chunking.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

DType ParseModelDType(const std::string& name) {
  const DType dtype = ParseDType(name);
  Require(dtype != DType::kF16, "--dtype f16: models run in f32 or bf16");
  return dtype;
}

/// Cuts at commas that lie in no bracket and no quoted string.
std::vector<std::string> SplitSettings(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted) depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (c == ',' && depth == 0 && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// "threshold=0.8" of "prefill.selector.threshold=0.8".
std::string ShortSetting(const std::string& setting) {
  const size_t equals = std::min(setting.find('='), setting.size());
  const size_t dot = setting.rfind('.', equals);
  return dot == std::string::npos ? setting : setting.substr(dot + 1);
}

}  // namespace

void MachineFlags::Declare(CLI::App& command) {
  command.add_option("--threads", threads, "Worker threads; 0: every processor")
      ->type_name("N")
      ->check(CLI::Range(0, 4096))
      ->group("Machine");
  command
      .add_option(
          "--isa", isa,
          "Attention kernels: portable, avx2, avx512, avx512-bf16, amx-bf16 (default: best)")
      ->type_name("NAME")
      ->group("Machine");
}

ExecutionContext MachineFlags::Context(ThreadPool& pool) const {
  ExecutionContext context;
  context.pool = &pool;
  if (isa.empty()) return context;
  context.isa = ParseCpuIsa(isa);
  Require(*context.isa <= DetectCpuIsa(), "--isa {}: this machine ({}) runs nothing above {}", isa,
          CpuModelName(), Name(DetectCpuIsa()));
  return context;
}

void ModelFlags::Declare(CLI::App& command) {
  command.add_option("--model", path, "GGUF file, or directory with config.json and safetensors")
      ->type_name("PATH")
      ->required()
      ->group("Model");
  command.add_option("--dtype", dtype, "Activations and KV cache: f32 or bf16")
      ->type_name("NAME")
      ->group("Model");
  command
      .add_option("--ctx", context, "Tokens the context may hold; 0: what the model was trained on")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 28))
      ->group("Model");
  command.add_option("--chunk", chunk, "Tokens of one prefill step")
      ->type_name("N")
      ->check(CLI::Range(kSmallestChunk, 1 << 20))
      ->group("Model");
  command.add_option("--page-size", page_size, "Tokens of a KV cache page; 0: contiguous cache")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 16))
      ->group("Model");
  machine.Declare(command);
}

int32_t ModelFlags::Capacity(const ModelConfig& config, size_t prompt_tokens, int32_t more_tokens,
                             bool may_end_early) const {
  const int64_t limit = context > 0 ? context : config.max_positions;
  const int64_t whole = static_cast<int64_t>(prompt_tokens) + more_tokens;
  const int64_t needed = may_end_early ? static_cast<int64_t>(prompt_tokens) : whole;
  if (needed > limit) {
    const std::string what = may_end_early || more_tokens == 0
                                 ? fmt::format("the prompt has {} tokens", prompt_tokens)
                                 : fmt::format("the prompt has {} tokens and {} more are to follow",
                                               prompt_tokens, more_tokens);
    if (context > 0) {
      Fail("{}, but --ctx is {}; raise --ctx to {} or shorten the prompt (--prompt-tokens N)", what,
           context, whole);
    }
    Fail(
        "{}, but the model was trained on {}; shorten the prompt (--prompt-tokens N), or go past "
        "that with --ctx {}",
        what, limit, whole);
  }
  if (std::min(whole, limit) > config.max_positions) {
    fmt::print(stderr, "note: {} tokens of context; the model was trained on {}\n",
               FormatCount(std::min(whole, limit)), FormatCount(config.max_positions));
  }
  return static_cast<int32_t>(std::min(whole, limit));
}

Session::Session(const ModelFlags& flags)
    : pool(flags.machine.threads),
      context(flags.machine.Context(pool)),
      dtype(ParseModelDType(flags.dtype)),
      tokenizer(LoadTokenizer(flags.path)),
      model(Model::Load(flags.path, {.dtype = dtype, .pool = &pool})) {
  Require(tokenizer->vocab_size() <= model->config().vocab,
          "the tokenizer of {} has {} ids and the model {} embeddings: they do not belong together",
          flags.path, tokenizer->vocab_size(), model->config().vocab);
}

nlohmann::ordered_json Session::Json() const {
  return {{"model", model->config().name},
          {"cpu", CpuModelName()},
          {"threads", pool.size()},
          {"dtype", Name(dtype)}};
}

std::string Session::Summary() const {
  return fmt::format("{}, {}, {}", model->config().name, Name(dtype), MachineSummary(pool.size()));
}

void JsonFlag::Declare(CLI::App& command) {
  option =
      command
          .add_option("--json", value, "Print one JSON document instead (-), or write it to FILE")
          ->type_name("[FILE]")
          ->expected(0, 1)
          ->group("Output");
}

std::optional<JsonSink> JsonFlag::Sink() const {
  if (option->count() == 0) return std::nullopt;
  return JsonSink(value);
}

NamedPolicy ParsePolicy(const std::string& argument, const std::vector<std::string>& settings) {
  const bool is_inline = argument.starts_with('{');
  std::vector<std::string> parts =
      is_inline ? std::vector<std::string>{argument} : SplitSettings(argument);
  const std::string spec = parts[0];
  std::vector<std::string> all(parts.begin() + 1, parts.end());
  all.insert(all.end(), settings.begin(), settings.end());
  Policy policy = Policy::Parse(spec, all);
  std::string label = policy.name();
  const auto names = [](const std::string& setting) { return setting.starts_with("name="); };
  if (std::none_of(all.begin(), all.end(), names)) {
    // The policy's own name spells the settings out in brackets; tables have less room.
    if (!all.empty()) label.resize(std::min(label.size(), label.rfind(" (")));
    if (label == "custom" && !is_inline) label = std::filesystem::path(spec).stem().string();
    for (const std::string& setting : all) label += ' ' + ShortSetting(setting);
  }
  return {std::move(label), std::move(policy)};
}

std::vector<NamedPolicy> ParsePolicies(const std::vector<std::string>& arguments) {
  std::vector<NamedPolicy> policies;
  for (const std::string& argument : arguments) {
    if (argument == "dense") continue;
    NamedPolicy policy = ParsePolicy(argument, {});
    const std::string label = policy.label;
    const auto taken = [&](const NamedPolicy& other) { return other.label == policy.label; };
    for (int copy = 2; std::any_of(policies.begin(), policies.end(), taken); ++copy) {
      policy.label = fmt::format("{} ({})", label, copy);
    }
    policies.push_back(std::move(policy));
  }
  return policies;
}

nlohmann::ordered_json Document(const std::string& command) {
  return {{"schema_version", kReportSchemaVersion},
          {"command", command},
          {"tamis_version", TAMIS_VERSION}};
}

void Print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    Fail("cannot write to stdout: {}", std::strerror(errno));
  }
}

std::string MachineSummary(int threads) {
  return fmt::format("{}, {} thread{}", CpuModelName(), threads, threads == 1 ? "" : "s");
}

}  // namespace tamis::cli
