// JSON as checkpoints use it, read without surprises.
#ifndef TAMIS_MODEL_CHECKPOINT_STRICT_JSON_H_
#define TAMIS_MODEL_CHECKPOINT_STRICT_JSON_H_

#include <nlohmann/json.hpp>
#include <string_view>

namespace tamis {

/// Parses an object. Throws Error beginning with `label` for anything else: broken JSON, keys given
/// twice, nesting past 32 levels.
nlohmann::json ParseJsonObject(std::string_view text, std::string_view label);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_STRICT_JSON_H_
