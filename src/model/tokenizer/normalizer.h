// Unicode normalization of text before it is split.
#ifndef TAMIS_MODEL_TOKENIZER_NORMALIZER_H_
#define TAMIS_MODEL_TOKENIZER_NORMALIZER_H_

#include <string>
#include <string_view>

namespace tamis {

/// Normalization Form C (UAX #15) as the reference tokenizer computes it: characters newer than its
/// tables pass through untouched. `text` must be well-formed UTF-8; the time is O(n log n).
std::string NormalizeNfc(std::string_view text);

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_NORMALIZER_H_
