// Where the reference tokenizer's Unicode tables and those of our libraries differ in version.
#ifndef TAMIS_MODEL_TOKENIZER_UNICODE_ADDITIONS_H_
#define TAMIS_MODEL_TOKENIZER_UNICODE_ADDITIONS_H_

#include <span>
#include <string>
#include <string_view>

namespace tamis {

/// `category` ("L", "Lu", ...) as the members of a regex character class, without the brackets, as
/// of Unicode 16: PCRE2's property and, by code point, what Unicode 15 to 16 assigned to it (PCRE2
/// 10.42, Debian 12's, knows Unicode 14; naming them twice does no harm). Empty for a category that
/// these releases also took characters from (Mn, Mc) or that is unknown.
std::string CategoryClass(std::string_view category);

/// The class of Rust's char::is_numeric, which splits digits in the reference: Nd, Nl and No as of
/// Unicode 17.
std::string NumericClass();

struct CharacterRange {
  char32_t first;
  char32_t last;
};

/// Characters with a combining class or a composition that the reference's NFC, which knows Unicode
/// 9, passes through untouched, in ascending order.
std::span<const CharacterRange> UnknownToReferenceNfc();

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_UNICODE_ADDITIONS_H_
