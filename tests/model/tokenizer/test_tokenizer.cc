#include "model/tokenizer/test_tokenizer.h"

#include "model/tokenizer/utf8.h"

namespace tamis::testing {

std::string Spell(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) AppendUtf8(ByteAlphabet()[static_cast<uint8_t>(byte)], spelling);
  return spelling;
}

nlohmann::json SmallTokenizerJson() {
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[Spell(std::string(1, static_cast<char>(byte)))] = byte;
  }
  int next = 256;
  for (const char* token : {"he", "ll", "hell", "hello", "\u0120w"}) vocabulary[token] = next++;
  nlohmann::json json;
  json["model"] = {{"type", "BPE"},
                   {"vocab", vocabulary},
                   {"merges", {"h e", "l l", "he ll", "hell o", "\u0120 w"}}};
  json["added_tokens"] = {{{"id", 261}, {"content", "<s>"}, {"special", true}},
                          {{"id", 262}, {"content", "</s>"}, {"special", true}}};
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["decoder"] = {{"type", "ByteLevel"}};
  return json;
}

std::unique_ptr<Tokenizer> Build(const nlohmann::json& json) {
  return MakeTokenizer(ParseTokenizerJson(json.dump(), "tokenizer.json"));
}

TokenizerMetadata SmallMetadata(const std::string& pre) {
  const nlohmann::json json = SmallTokenizerJson();
  TokenizerMetadata metadata;
  metadata.model = "gpt2";
  metadata.pre = pre;
  metadata.tokens.resize(263);
  metadata.token_types.assign(263, 1);
  for (const auto& [token, id] : json["model"]["vocab"].items()) metadata.tokens[id] = token;
  metadata.tokens[261] = "<s>";
  metadata.tokens[262] = "</s>";
  metadata.token_types[261] = metadata.token_types[262] = 3;
  for (const auto& merge : json["model"]["merges"]) metadata.merges.push_back(merge);
  metadata.bos_id = 261;
  metadata.eos_id = 262;
  return metadata;
}

}  // namespace tamis::testing
