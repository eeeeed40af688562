// HuggingFace's config.json.
#ifndef TAMIS_MODEL_CHECKPOINT_HF_CONFIG_H_
#define TAMIS_MODEL_CHECKPOINT_HF_CONFIG_H_

#include <string_view>

#include "tamis/model.h"

namespace tamis {

/// Reads the text of a config.json as transformers does, defaults included. `label` begins error
/// messages, `name` names the model. Throws Error for architectures and features that tamis does
/// not run, and for numbers missing or out of bounds.
ModelConfig ParseHfConfig(std::string_view text, std::string_view label, std::string_view name);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_HF_CONFIG_H_
