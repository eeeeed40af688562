// tokenizer.json, the format of HuggingFace tokenizers.
#ifndef TAMIS_MODEL_TOKENIZER_TOKENIZER_JSON_H_
#define TAMIS_MODEL_TOKENIZER_TOKENIZER_JSON_H_

#include <string_view>

#include "model/tokenizer/byte_level_tokenizer.h"
#include "model/tokenizer/json.h"

namespace tamis {

/// Everything that tokenizer.json says: vocabulary, merges, added tokens, normalizer,
/// pre-tokenizer, decoder and what its post-processor puts first. truncation and padding are for
/// batches of training examples and are ignored, as transformers ignores them. Throws Error, by
/// name, for whatever is not run.
TokenizerParts ParseTokenizerJson(std::string_view text, std::string_view source);

/// The "pre_tokenizer" of tokenizer.json: ByteLevel, Digits, Split and sequences of them.
void ReadPreTokenizer(const Json& json, TokenizerParts& parts);

/// Adds what tokenizer_config.json and generation_config.json say about the beginning of sequence,
/// ends of sequence and the chat template. Either may be null.
void ReadTokenizerConfig(const Json& config, TokenizerParts& parts);
void ReadGenerationConfig(const Json& config, TokenizerParts& parts);

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_TOKENIZER_JSON_H_
