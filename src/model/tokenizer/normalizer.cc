#include "model/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "model/tokenizer/unicode_additions.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

// Below U+0300 every character is its own normal form and none combines with what precedes it.
constexpr char32_t kFirstCombining = 0x300;
constexpr uint8_t kFirstCombiningLead = 0xCC;  // first byte of U+0300

bool IsUnknown(char32_t character) {
  const auto ranges = UnknownToReferenceNfc();
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), character,
      [](char32_t value, const CharacterRange& range) { return value < range.first; });
  return after != ranges.begin() && character <= std::prev(after)->last;
}

int CombiningClass(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

/// Appends the canonical decomposition of one character.
void Decompose(char32_t character, std::vector<utf8proc_int32_t>& target) {
  // 4 suffices for every canonical decomposition (the longest is U+1F82 and its like).
  utf8proc_int32_t buffer[8];
  int last_boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(character), buffer, 8,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &last_boundary);
  assert(count > 0 && count <= 8);
  target.insert(target.end(), buffer, buffer + count);
}

/// Composes the decomposed characters, appends them to `target` and empties `characters`.
void Flush(std::vector<utf8proc_int32_t>& characters, std::string& target) {
  // Canonical ordering, sorted here because utf8proc bubbles: a long run of marks would take for
  // ever.
  for (auto first = characters.begin(); first != characters.end();) {
    if (CombiningClass(*first) == 0) {
      ++first;
      continue;
    }
    const auto last =
        std::find_if(first, characters.end(), [](auto c) { return CombiningClass(c) == 0; });
    std::stable_sort(first, last,
                     [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    first = last;
  }
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(characters.data(), static_cast<utf8proc_ssize_t>(characters.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    AppendUtf8(static_cast<char32_t>(characters[i]), target);
  }
  characters.clear();
}

}  // namespace

std::string NormalizeNfc(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  std::vector<utf8proc_int32_t> pending;  // decomposed characters of the stretch being composed
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    const std::string_view character = text.substr(0, step.bytes);
    text.remove_prefix(step.bytes);
    if (step.character < kFirstCombining) Flush(pending, result);
    const bool next_may_combine =
        !text.empty() && static_cast<uint8_t>(text[0]) >= kFirstCombiningLead;
    if (step.character < kFirstCombining && !next_may_combine) {
      result += character;
    } else if (IsUnknown(step.character)) {
      Flush(pending, result);
      result += character;
    } else {
      Decompose(step.character, pending);
    }
  }
  Flush(pending, result);
  return result;
}

}  // namespace tamis
