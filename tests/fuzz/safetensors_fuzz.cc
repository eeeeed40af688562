// Reads bytes as each kind of file of a HuggingFace model: a safetensors file, the index of a
// sharded one, a config.json. Only tamis::Error may come out.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/checkpoint/hf_config.h"
#include "model/checkpoint/open.h"
#include "model/checkpoint/safetensors_file.h"
#include "tamis/error.h"

namespace {

// Of the model that corpus/safetensors/model holds.
constexpr std::string_view kConfig = R"({
  "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1, "hidden_size": 8,
  "intermediate_size": 8, "num_attention_heads": 1, "vocab_size": 2,
  "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})";

template <typename Read>
void OnlyErrors(Read&& read) {
  try {
    read();
  } catch (const tamis::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  OnlyErrors([&] {
    tamis::OpenSafetensors(kConfig, tamis::ParseSafetensors({data, size}, "fuzz"), 1,
                           {.label = "fuzz", .name = "fuzz", .directory = "fuzz"});
  });
  OnlyErrors([&] { tamis::ParseSafetensorsIndex(text, "fuzz"); });
  OnlyErrors([&] { tamis::ParseHfConfig(text, "fuzz", "fuzz"); });
  return 0;
}
