// Tokenizers described by GGUF metadata.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "model/tokenizer/byte_level_tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

// tokenizer.ggml.token_type
constexpr int32_t kUnknown = 2;
constexpr int32_t kControl = 3;
constexpr int32_t kUserDefined = 4;

/// What a value of tokenizer.ggml.pre stands for: the pipeline of the tokenizer.json that the file
/// was converted from.
struct Pre {
  std::string_view name;
  bool digits = false;       // each digit on its own, first
  std::string_view pattern;  // then this
  bool ignore_merges = false;
  bool nfc = false;
};
constexpr std::array<Pre, 10> kPres = {{
    {.name = "smollm", .digits = true, .pattern = kGpt2Pattern},
    {.name = "starcoder", .digits = true, .pattern = kGpt2Pattern},
    {.name = "refact", .digits = true, .pattern = kGpt2Pattern},
    {.name = "command-r", .digits = true, .pattern = kGpt2Pattern, .nfc = true},
    {.name = "gpt-2", .pattern = kGpt2Pattern},
    {.name = "llama-bpe", .pattern = kLlama3Pattern, .ignore_merges = true},
    {.name = "llama3", .pattern = kLlama3Pattern, .ignore_merges = true},
    {.name = "llama-v3", .pattern = kLlama3Pattern, .ignore_merges = true},
    {.name = "qwen2", .pattern = kQwen2Pattern, .nfc = true},
    {.name = "gpt-4o", .pattern = kGpt4oPattern},
}};

const Pre& FindPre(std::string_view name) {
  const auto* pre =
      std::find_if(kPres.begin(), kPres.end(), [&](const Pre& p) { return p.name == name; });
  if (pre != kPres.end()) return *pre;
  std::string known;
  for (const Pre& p : kPres) known += fmt::format("{}{}", known.empty() ? "" : ", ", p.name);
  Fail(
      "tokenizer.ggml.pre '{}' is not run (run are {}); use the model's HuggingFace directory "
      "with its tokenizer.json",
      Excerpt(name), known);
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::FromMetadata(const TokenizerMetadata& metadata) {
  Require(metadata.model == "gpt2",
          "tokenizer.ggml.model '{}' is not run (run is gpt2, byte-level BPE); use a model with a "
          "byte-level BPE tokenizer, such as SmolLM2, Llama 3 or Qwen",
          Excerpt(metadata.model));
  const Pre& pre = FindPre(metadata.pre);
  const size_t count = metadata.tokens.size();
  Require(count > 0 && count <= static_cast<size_t>(kMaxVocabulary),
          "tokenizer.ggml.tokens holds {} tokens; 1 to {} are read", count, kMaxVocabulary);
  Require(metadata.token_types.empty() || metadata.token_types.size() == count,
          "tokenizer.ggml.token_type holds {} entries for {} tokens", metadata.token_types.size(),
          count);
  Require(metadata.merges.size() <= static_cast<size_t>(kMaxVocabulary),
          "tokenizer.ggml.merges holds {} merges; at most {} are read", metadata.merges.size(),
          kMaxVocabulary);

  TokenizerParts parts;
  parts.tokens.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string& text = metadata.tokens[i];
    Require(IsValidUtf8(text), "token {} of tokenizer.ggml.tokens is not UTF-8", id);
    parts.SetToken(id, text);
    parts.bpe.AddToken(text, id);
    const int32_t type = metadata.token_types.empty() ? 1 : metadata.token_types[i];
    const bool special = type == kControl || type == kUnknown;
    if (special || type == kUserDefined) {
      parts.added.push_back({.id = id, .content = text, .special = special});
    }
  }
  for (const std::string& merge : metadata.merges) parts.bpe.AddMerge(merge);
  parts.bpe.set_ignore_merges(pre.ignore_merges);
  parts.nfc = pre.nfc;
  if (pre.digits) parts.pre_tokenizer.AddDigits(/*individual=*/true);
  parts.pre_tokenizer.AddSplit(Regex::FromOniguruma(pre.pattern), SplitBehavior::kIsolated);
  parts.pre_tokenizer_name = pre.name;

  if (metadata.bos_id >= 0) parts.RequireToken(metadata.bos_id, "tokenizer.ggml.bos_token_id");
  parts.bos_id = metadata.bos_id;
  if (metadata.add_bos) {
    Require(metadata.bos_id >= 0,
            "tokenizer.ggml.add_bos_token is set but tokenizer.ggml.bos_token_id is not");
    parts.prefix = {metadata.bos_id};
  }
  if (metadata.eos_id >= 0) {
    parts.RequireToken(metadata.eos_id, "tokenizer.ggml.eos_token_id");
    parts.stop_ids.push_back(metadata.eos_id);
  }
  parts.AddTurnEnds();
  parts.chat_template = metadata.chat_template;
  return MakeTokenizer(std::move(parts));
}

}  // namespace tamis
