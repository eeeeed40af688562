#include <array>
#include <string>
#include <utility>

#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

constexpr size_t kMaxSteps = 16;

SplitBehavior ParseBehavior(const std::string& name) {
  using enum SplitBehavior;
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames = {{
      {"Isolated", kIsolated},
      {"Removed", kRemoved},
      {"MergedWithPrevious", kMergedWithPrevious},
      {"MergedWithNext", kMergedWithNext},
      {"Contiguous", kContiguous},
  }};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  Fail(
      "pre_tokenizer: Split behavior '{}' is unknown; known are Isolated, Removed, "
      "MergedWithPrevious, MergedWithNext and Contiguous",
      Excerpt(name));
}

void ReadSplit(const Json& json, PreTokenizer& pre_tokenizer) {
  const Json& pattern = Member(json, "pattern", "pre_tokenizer");
  const SplitBehavior behavior = ParseBehavior(StringMember(json, "behavior", "pre_tokenizer"));
  const bool invert = BoolMember(json, "invert", false, "pre_tokenizer");
  const Json& regex = Member(pattern, "Regex", "pre_tokenizer.pattern");
  if (regex.is_string()) {
    pre_tokenizer.AddSplit(Regex::FromOniguruma(regex.get_ref<const std::string&>()), behavior,
                           invert);
    return;
  }
  const std::string& literal = StringMember(pattern, "String", "pre_tokenizer.pattern");
  Require(!literal.empty(), "pre_tokenizer.pattern.String is empty; name the text to split at");
  pre_tokenizer.AddSplit(Regex::Literal(literal), behavior, invert);
}

/// Adds one step or a sequence; says whether it ended in ByteLevel, after which the text is in the
/// byte alphabet and nothing may follow.
bool ReadStep(const Json& json, TokenizerParts& parts) {
  const std::string& type = StringMember(json, "type", "pre_tokenizer");
  parts.pre_tokenizer_name += (parts.pre_tokenizer_name.empty() ? "" : "+") + type;
  Require(parts.pre_tokenizer.size() < kMaxSteps, "pre_tokenizer has more than {} steps",
          kMaxSteps);
  if (type == "ByteLevel") {
    parts.pre_tokenizer.AddByteLevel(BoolMember(json, "add_prefix_space", true, "pre_tokenizer"),
                                     BoolMember(json, "use_regex", true, "pre_tokenizer"));
    return true;
  }
  if (type == "Digits") {
    parts.pre_tokenizer.AddDigits(BoolMember(json, "individual_digits", false, "pre_tokenizer"));
  } else if (type == "Split") {
    ReadSplit(json, parts.pre_tokenizer);
  } else {
    Fail(
        "pre_tokenizer '{}' is not run (run are ByteLevel, Digits, Split and Sequence, the "
        "byte-level BPE of SmolLM2, Llama 3 and Qwen); use such a model",
        Excerpt(type));
  }
  return false;
}

}  // namespace

void ReadPreTokenizer(const Json& json, TokenizerParts& parts) {
  Require(!json.is_null(),
          "tokenizer.json has no pre_tokenizer, so it is not byte-level BPE; use a model with a "
          "byte-level BPE tokenizer, such as SmolLM2, Llama 3 or Qwen");
  bool byte_level = false;
  if (StringMember(json, "type", "pre_tokenizer") == "Sequence") {
    for (const Json& step : ArrayMember(json, "pretokenizers", "pre_tokenizer")) {
      Require(!byte_level, "pre_tokenizer: steps after ByteLevel are not run");
      byte_level = ReadStep(step, parts);
    }
  } else {
    byte_level = ReadStep(json, parts);
  }
  Require(byte_level,
          "pre_tokenizer does not end in ByteLevel, so it is not byte-level BPE; use a model with "
          "a byte-level BPE tokenizer, such as SmolLM2, Llama 3 or Qwen");
}

}  // namespace tamis
