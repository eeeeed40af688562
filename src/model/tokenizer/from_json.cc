#include <filesystem>
#include <utility>

#include "base/mapped_file.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;
constexpr size_t kMaxConfigBytes = size_t{4} << 20;
constexpr int kMaxDepth = 32;

/// Refuses nesting that would only exhaust memory: a parser's stack grows with it.
void CheckDepth(std::string_view text, std::string_view source) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      Require(++depth <= kMaxDepth, "{} is nested more than {} deep at byte {}", source, kMaxDepth,
              i);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

int32_t ReadId(const Json& value, std::string_view where) {
  Require(value.is_number_integer(), "{} is {}, not an integer", where, value.type_name());
  // Negative and large values alike are too large when read as unsigned.
  if (value.get<uint64_t>() >= uint64_t{kMaxVocabulary}) {
    Fail("{} is {}; ids run from 0 to {}", where, Excerpt(value.dump()), kMaxVocabulary - 1);
  }
  return value.get<int32_t>();
}

void ReadNormalizer(const Json& json, TokenizerParts& parts) {
  if (json.is_null()) return;
  const std::string& type = StringMember(json, "type", "normalizer");
  if (type == "Sequence") {
    for (const Json& step : ArrayMember(json, "normalizers", "normalizer")) {
      Require(StringMember(step, "type", "normalizer") != "Sequence",
              "normalizer: a Sequence inside a Sequence is not run");
      ReadNormalizer(step, parts);
    }
    return;
  }
  Require(type == "NFC", "normalizer '{}' is not run (run is NFC); use a model without it",
          Excerpt(type));
  parts.nfc = true;
}

void ReadVocabulary(const Json& model, TokenizerParts& parts) {
  const Json& vocabulary = Member(model, "vocab", "model");
  Require(vocabulary.is_object(), "model.vocab is {}, not an object", vocabulary.type_name());
  for (const auto& [token, value] : vocabulary.items()) {
    const int32_t id = ReadId(value, "an id in model.vocab");
    parts.SetToken(id, token);
    parts.bpe.AddToken(token, id);
  }
  Require(!parts.tokens.empty(), "model.vocab is empty");
}

void ReadMerges(const Json& model, Bpe& bpe) {
  for (const Json& merge : ArrayMember(model, "merges", "model")) {
    if (merge.is_string()) {
      const std::string_view line = merge.get_ref<const std::string&>();
      if (!line.starts_with("#version")) bpe.AddMerge(line);
      continue;
    }
    Require(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
            "model.merges: entry {} is neither \"a b\" nor [\"a\", \"b\"]", bpe.merges());
    bpe.AddMerge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
  }
}

void ReadModel(const Json& model, TokenizerParts& parts) {
  // Files of before 2020 name no type; they hold merges where they are BPE.
  const Json& type = Member(model, "type", "model");
  if (!type.is_null() || Member(model, "merges", "model").is_null()) {
    const std::string& name = StringMember(model, "type", "model");
    Require(name == "BPE",
            "tokenizer kind '{}' is not run (run is byte-level BPE); use a model such as SmolLM2, "
            "Llama 3 or Qwen",
            Excerpt(name));
  }
  const Json& dropout = Member(model, "dropout", "model");
  Require(dropout.is_null() || (dropout.is_number() && dropout.get<double>() == 0.0),
          "model.dropout {} is not run: ids would be random; set it to null",
          Excerpt(dropout.dump()));
  Require(!BoolMember(model, "byte_fallback", false, "model"),
          "model.byte_fallback is not run (it belongs to SentencePiece BPE); use a model with "
          "byte-level BPE, such as SmolLM2, Llama 3 or Qwen");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = Member(model, affix, "model");
    Require(value.is_null() || value == "", "model.{} {} is not run; set it to null", affix,
            Excerpt(value.dump()));
  }
  ReadVocabulary(model, parts);
  ReadMerges(model, parts.bpe);
  parts.bpe.set_ignore_merges(BoolMember(model, "ignore_merges", false, "model"));
  if (!Member(model, "unk_token", "model").is_null()) {
    const std::string& unknown = StringMember(model, "unk_token", "model");
    const int32_t id = parts.bpe.Find(unknown);
    Require(id >= 0, "model.unk_token '{}' is not in model.vocab", Excerpt(unknown));
    parts.bpe.set_unknown(id, BoolMember(model, "fuse_unk", false, "model"));
  }
}

void ReadAddedTokens(const Json& json, TokenizerParts& parts) {
  if (json.is_null()) return;
  Require(json.is_array(), "added_tokens is {}, not an array", json.type_name());
  for (const Json& entry : json) {
    AddedToken token;
    token.id = ReadId(Member(entry, "id", "added_tokens"), "an id in added_tokens");
    token.content = StringMember(entry, "content", "added_tokens");
    token.single_word = BoolMember(entry, "single_word", false, "added_tokens");
    token.lstrip = BoolMember(entry, "lstrip", false, "added_tokens");
    token.rstrip = BoolMember(entry, "rstrip", false, "added_tokens");
    token.special = BoolMember(entry, "special", false, "added_tokens");
    token.normalized = BoolMember(entry, "normalized", !token.special, "added_tokens");
    const int32_t known = parts.bpe.Find(token.content);
    Require(known < 0 || known == token.id, "added token '{}' has id {}, but {} in model.vocab",
            Excerpt(token.content), token.id, known);
    parts.SetToken(token.id, token.content);
    parts.added.push_back(std::move(token));
  }
}

/// Reads what the post-processor puts first; ByteLevel there only moves offsets.
void ReadPostProcessor(const Json& json, TokenizerParts& parts, int depth) {
  if (json.is_null()) return;
  const std::string& type = StringMember(json, "type", "post_processor");
  if (type == "ByteLevel") return;
  if (type == "Sequence") {
    Require(depth == 0, "post_processor: a Sequence inside a Sequence is not run");
    for (const Json& step : ArrayMember(json, "processors", "post_processor")) {
      ReadPostProcessor(step, parts, depth + 1);
    }
    return;
  }
  Require(type == "TemplateProcessing",
          "post_processor '{}' is not run (run are ByteLevel, TemplateProcessing and Sequence)",
          Excerpt(type));
  const Json& special_tokens = Member(json, "special_tokens", "post_processor");
  std::vector<int32_t> first;
  bool text_seen = false;
  for (const Json& part : ArrayMember(json, "single", "post_processor")) {
    if (!Member(part, "Sequence", "post_processor.single").is_null()) {
      Require(!text_seen, "post_processor.single repeats the text, which is not run");
      text_seen = true;
      continue;
    }
    const Json& token = Member(part, "SpecialToken", "post_processor.single");
    const std::string& name = StringMember(token, "id", "post_processor.single");
    Require(!text_seen,
            "post_processor puts '{}' behind the text, which is not run: a decoder would go on "
            "after it; remove it from tokenizer.json",
            Excerpt(name));
    const Json& entry = Member(special_tokens, name.c_str(), "post_processor.special_tokens");
    for (const Json& id : ArrayMember(entry, "ids", "post_processor.special_tokens")) {
      first.push_back(ReadId(id, "an id in post_processor.special_tokens"));
      parts.RequireToken(first.back(), "an id in post_processor.special_tokens");
    }
  }
  Require(text_seen, "post_processor.single does not contain the text");
  parts.prefix.insert(parts.prefix.begin(), first.begin(), first.end());
}

void CheckDecoder(const Json& json, int depth) {
  const std::string& type = StringMember(json, "type", "decoder");
  if (type == "Sequence" && depth == 0) {
    const Json& steps = ArrayMember(json, "decoders", "decoder");
    Require(steps.size() == 1, "decoder is a Sequence of {} steps; one, ByteLevel, is run",
            steps.size());
    CheckDecoder(steps[0], depth + 1);
    return;
  }
  Require(type == "ByteLevel", "decoder '{}' is not run (run is ByteLevel)", Excerpt(type));
}

/// The id of a token given as its text or as {"content": text}; -1 where there is none.
int32_t ReadNamedToken(const Json& config, const char* key, const TokenizerParts& parts) {
  const Json& value = Member(config, key, "tokenizer_config.json");
  if (value.is_null()) return -1;
  const std::string& text = value.is_string()
                                ? value.get_ref<const std::string&>()
                                : StringMember(value, "content", "tokenizer_config.json");
  for (const AddedToken& token : parts.added) {
    if (token.content == text) return token.id;
  }
  const int32_t id = parts.bpe.Find(text);
  Require(id >= 0, "tokenizer_config.json: {} '{}' is not in the vocabulary", key, Excerpt(text));
  return id;
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view source) {
  CheckDepth(text, source);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    Fail("{} is not JSON (at byte {} of {}); fetch it again", source, error.byte, text.size());
  } catch (const Json::exception&) {
    Fail("{} is not JSON: a number is out of range; fetch it again", source);
  }
}

TokenizerParts ParseTokenizerJson(std::string_view text, std::string_view source) {
  const Json json = ParseJson(text, source);
  TokenizerParts parts;
  ReadModel(Member(json, "model", source), parts);
  ReadAddedTokens(Member(json, "added_tokens", source), parts);
  ReadNormalizer(Member(json, "normalizer", source), parts);
  ReadPreTokenizer(Member(json, "pre_tokenizer", source), parts);
  ReadPostProcessor(Member(json, "post_processor", source), parts, 0);
  CheckDecoder(Member(json, "decoder", source), 0);
  if (!parts.prefix.empty()) parts.bos_id = parts.prefix.front();
  return parts;
}

void ReadTokenizerConfig(const Json& config, TokenizerParts& parts) {
  if (config.is_null()) return;
  if (const int32_t bos = ReadNamedToken(config, "bos_token", parts); bos >= 0) parts.bos_id = bos;
  if (const int32_t eos = ReadNamedToken(config, "eos_token", parts); eos >= 0) {
    parts.stop_ids.push_back(eos);
  }
  const Json& chat_template = Member(config, "chat_template", "tokenizer_config.json");
  if (chat_template.is_array()) {
    for (const Json& entry : chat_template) {
      if (StringMember(entry, "name", "chat_template") == "default") {
        parts.chat_template = StringMember(entry, "template", "chat_template");
      }
    }
  } else if (!chat_template.is_null()) {
    parts.chat_template = StringMember(config, "chat_template", "tokenizer_config.json");
  }
}

void ReadGenerationConfig(const Json& config, TokenizerParts& parts) {
  if (config.is_null()) return;
  const Json& eos = Member(config, "eos_token_id", "generation_config.json");
  const auto add = [&](const Json& value) {
    const int32_t id = ReadId(value, "generation_config.json: eos_token_id");
    parts.RequireToken(id, "generation_config.json: eos_token_id");
    parts.stop_ids.push_back(id);
  };
  if (eos.is_array()) {
    for (const Json& id : eos) add(id);
  } else if (!eos.is_null()) {
    add(eos);
  }
}

std::unique_ptr<Tokenizer> Tokenizer::FromFile(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // what cannot be looked at is reported when it is opened
  fs::path file(path);
  if (fs::is_directory(file, ignored)) file /= "tokenizer.json";
  const fs::path directory = file.parent_path();
  if (!fs::exists(file, ignored)) {
    for (const char* other : {"tokenizer.model", "vocab.json", "vocab.txt"}) {
      Require(!fs::exists(directory / other, ignored),
              "{} has {} but no tokenizer.json; save it with transformers' "
              "AutoTokenizer.from_pretrained(...).save_pretrained(...)",
              directory.string(), other);
    }
  }
  TokenizerParts parts =
      ParseTokenizerJson(ReadFile(file.string(), kMaxTokenizerBytes), file.string());
  const auto config = [&](const char* name) {
    const fs::path beside = directory / name;
    if (!fs::exists(beside, ignored)) return Json();
    return ParseJson(ReadFile(beside.string(), kMaxConfigBytes), beside.string());
  };
  ReadTokenizerConfig(config("tokenizer_config.json"), parts);
  ReadGenerationConfig(config("generation_config.json"), parts);
  if (const fs::path jinja = directory / "chat_template.jinja"; fs::exists(jinja, ignored)) {
    parts.chat_template = ReadFile(jinja.string(), kMaxConfigBytes);
  }
  parts.AddTurnEnds();
  return MakeTokenizer(std::move(parts));
}

}  // namespace tamis
