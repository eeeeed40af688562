#include "model/tokenizer/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "model/tokenizer/unicode_additions.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

// Bounds both the trie and the time that near misses cost per byte of text.
constexpr size_t kMaxContentBytes = 256;

/// The last character of a text that is not empty.
std::string_view LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

}  // namespace

void AddedTokenMatcher::Add(const AddedToken& token) {
  Require(!token.content.empty() && token.content.size() <= kMaxContentBytes,
          "added token {} holds {} bytes; 1 to {} are read", token.id, token.content.size(),
          kMaxContentBytes);
  int32_t node = kRoot;
  for (const char c : token.content) {
    const uint64_t key = (static_cast<uint64_t>(node) << 8) | static_cast<uint8_t>(c);
    const auto [edge, added] = edges_.emplace(key, static_cast<int32_t>(token_at_.size()));
    if (added) token_at_.push_back(-1);
    node = edge->second;
  }
  Require(token_at_[node] < 0, "added token '{}' is listed twice", Excerpt(token.content));
  token_at_[node] = static_cast<int32_t>(tokens_.size());
  first_byte_[static_cast<uint8_t>(token.content[0])] = true;
  tokens_.push_back(token);
  if (token.single_word && !word_character_) {
    // Rust's \w: Alphabetic, marks, decimal digits, connector punctuation and joiners.
    word_character_.emplace("[\\p{Alphabetic}" + CategoryClass("L") + CategoryClass("M") +
                            CategoryClass("Nd") + "\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}]");
  }
}

int32_t AddedTokenMatcher::Longest(std::string_view text) const {
  int32_t longest = -1;
  int32_t node = kRoot;
  for (const char c : text) {
    const auto edge = edges_.find((static_cast<uint64_t>(node) << 8) | static_cast<uint8_t>(c));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_at_[node] >= 0) longest = token_at_[node];
  }
  return longest;
}

bool AddedTokenMatcher::StandsAlone(std::string_view text, size_t begin, size_t end,
                                    RegexScratch& scratch) const {
  const auto is_word = [&](std::string_view character) {
    size_t first = 0;
    size_t last = 0;
    return word_character_->Find(character, 0, scratch, first, last);
  };
  if (begin > 0 && is_word(LastCharacter(text.substr(0, begin)))) return false;
  if (end == text.size()) return true;
  return !is_word(text.substr(end, DecodeUtf8(text.substr(end)).bytes));
}

void AddedTokenMatcher::Split(std::string_view text, bool skip_special, RegexScratch& scratch,
                              const std::function<void(std::string_view)>& plain,
                              const std::function<void(int32_t)>& token) const {
  size_t covered = 0;
  size_t position = 0;
  // The run of white space that rstrip measured last: tokens inside it end where it does.
  size_t space_begin = 0;
  size_t space_end = 0;
  while (position < text.size()) {
    if (!first_byte_[static_cast<uint8_t>(text[position])]) {
      ++position;
      continue;
    }
    const int32_t index = Longest(text.substr(position));
    if (index < 0) {
      ++position;
      continue;
    }
    const AddedToken& match = tokens_[index];
    size_t begin = position;
    size_t end = position + match.content.size();
    // A match that does not count still covers its text: the search goes on behind it.
    position = end;
    if (skip_special && match.special) continue;
    if (match.single_word && !StandsAlone(text, begin, end, scratch)) continue;
    if (match.lstrip) {
      while (begin > covered) {
        const std::string_view before = LastCharacter(text.substr(covered, begin - covered));
        if (!IsWhiteSpace(DecodeUtf8(before).character)) break;
        begin -= before.size();
      }
    }
    if (match.rstrip) {
      if (end < space_begin || end > space_end) {
        space_begin = space_end = end;
        while (space_end < text.size()) {
          const Utf8Step step = DecodeUtf8(text.substr(space_end));
          if (!IsWhiteSpace(step.character)) break;
          space_end += step.bytes;
        }
      }
      end = space_end;
    }
    if (covered < begin) plain(text.substr(covered, begin - covered));
    token(match.id);
    covered = end;
  }
  if (covered < text.size()) plain(text.substr(covered));
}

}  // namespace tamis
