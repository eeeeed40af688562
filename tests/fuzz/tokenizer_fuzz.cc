// tokenizer.json of any bytes, and a text for whatever it builds: only tamis::Error may come out,
// and what is streamed must be what is decoded at once.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/tokenizer/byte_level_tokenizer.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"
#include "tamis/error.h"

namespace {

void Use(const tamis::Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.Encode(text, text.size() % 2 == 0);
  for (const int32_t id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
  }
  std::string whole;
  tamis::AppendRepaired(tokenizer.Decode(ids), whole);
  tamis::StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) {
    streamed += stream.Push(id);
    if (!tamis::IsValidUtf8(streamed)) std::abort();
  }
  if (streamed + stream.Finish() != whole) std::abort();
  if (tokenizer.has_chat_template()) {
    tokenizer.RenderChat(std::vector<tamis::ChatMessage>{{"user", std::string(text)},
                                                         {"assistant", std::string(text)}});
  }
}

}  // namespace

// The input is tokenizer.json, the byte FF, tokenizer_config.json, FF, the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto next = [&rest] {
    const std::string_view part = rest.substr(0, rest.find('\xFF'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  const std::string_view json = next();
  const std::string_view config = next();
  try {
    tamis::TokenizerParts parts = tamis::ParseTokenizerJson(json, "tokenizer.json");
    if (!config.empty()) {
      const tamis::Json parsed = tamis::ParseJson(config, "tokenizer_config.json");
      tamis::ReadTokenizerConfig(parsed, parts);
      tamis::ReadGenerationConfig(parsed, parts);
    }
    parts.AddTurnEnds();
    Use(*tamis::MakeTokenizer(std::move(parts)), rest.substr(0, 4096));
  } catch (const tamis::Error&) {
    // What a user would be told.
  }
  return 0;
}
