// What a GGUF file's metadata says about the model and its tokenizer.
#ifndef TAMIS_MODEL_CHECKPOINT_GGUF_CONFIG_H_
#define TAMIS_MODEL_CHECKPOINT_GGUF_CONFIG_H_

#include <optional>
#include <string_view>

#include "model/checkpoint/gguf_file.h"
#include "tamis/model.h"
#include "tamis/tokenizer.h"

namespace tamis {

/// `file_name` names a model that does not name itself. Throws Error for architectures and features
/// that tamis does not run, and for numbers out of bounds.
ModelConfig GgufModelConfig(const GgufFile& file, std::string_view file_name);

/// Nothing where the file carries no tokenizer. Throws Error for damage; kinds of tokenizer are not
/// judged here.
std::optional<TokenizerMetadata> GgufTokenizer(const GgufFile& file);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_GGUF_CONFIG_H_
