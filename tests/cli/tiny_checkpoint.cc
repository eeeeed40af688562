#include "cli/tiny_checkpoint.h"

#include <fstream>

#include "model/tokenizer/utf8.h"

namespace tamis::testing {

std::vector<uint8_t> TinyGguf(int32_t embeddings) {
  ModelConfig config = TinyConfig(Architecture::kLlama);
  config.vocab = embeddings;
  config.max_positions = 256;
  GgufBuilder gguf = GgufOf(RandomModel(config, WeightType::kF32, 5));
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (const char32_t letter : ByteAlphabet()) {
    tokens.emplace_back();
    AppendUtf8(letter, tokens.back());
    types.push_back(1);
  }
  for (const char* control : {"<|im_start|>", "<|im_end|>"}) {
    tokens.emplace_back(control);
    types.push_back(3);
  }
  gguf.String("tokenizer.ggml.model", "gpt2");
  gguf.String("tokenizer.ggml.pre", "smollm");
  gguf.Strings("tokenizer.ggml.tokens", tokens);
  gguf.Int32s("tokenizer.ggml.token_type", types);
  gguf.Strings("tokenizer.ggml.merges", {});
  gguf.Uint32("tokenizer.ggml.eos_token_id", 257);
  gguf.String("tokenizer.chat_template",
              "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
              "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
  return gguf.Build();
}

void WriteFile(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

}  // namespace tamis::testing
