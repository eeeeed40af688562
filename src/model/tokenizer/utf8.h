// UTF-8 and the byte alphabet of byte-level BPE.
#ifndef TAMIS_MODEL_TOKENIZER_UTF8_H_
#define TAMIS_MODEL_TOKENIZER_UTF8_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tamis {

/// What stands at the start of a text.
struct Utf8Step {
  enum class Kind : uint8_t {
    kCharacter,  ///< a whole character
    kInvalid,    ///< a maximal subpart of an ill-formed sequence (Unicode 3.9, table 3-8)
    kCut,        ///< the beginning of a character that the end of the text cuts
  };
  Kind kind;
  size_t bytes;
  char32_t character;  ///< U+FFFD unless kCharacter
};

/// `text` must not be empty.
Utf8Step DecodeUtf8(std::string_view text);

/// True where `text` is well-formed UTF-8.
bool IsValidUtf8(std::string_view text);
/// Appends `text` to `target` with U+FFFD for every maximal ill-formed subpart, as Python's
/// errors='replace' and Rust's from_utf8_lossy do.
void AppendRepaired(std::string_view text, std::string& target);

void AppendUtf8(char32_t character, std::string& target);

/// `text` fit for a one-line message: its first 60 bytes or so, valid UTF-8, control characters
/// escaped.
std::string Excerpt(std::string_view text);

/// Unicode White_Space.
bool IsWhiteSpace(char32_t character);

/// Byte-level BPE spells each byte as one printable character (GPT-2, "Language Models are
/// Unsupervised Multitask Learners", section 2.2): printable Latin-1 stands for itself, the other
/// 68 bytes for U+0100 onwards, in order.
const std::array<char32_t, 256>& ByteAlphabet();
/// The bytes that `spelling` stands for, or nothing where a character is outside the alphabet.
std::optional<std::string> BytesOfSpelling(std::string_view spelling);

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_UTF8_H_
