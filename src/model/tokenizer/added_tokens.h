// Tokens that are matched in the text itself, before it is split: special and user-defined ones.
#ifndef TAMIS_MODEL_TOKENIZER_ADDED_TOKENS_H_
#define TAMIS_MODEL_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/regex.h"

namespace tamis {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  ///< matches only where no word character is next to it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< is looked for in the normalized text
  bool special = false;      ///< left out when decoding
};

/// Finds added tokens: leftmost, and the longest of those. Immutable once built and safe to use
/// from several threads.
class AddedTokenMatcher {
 public:
  /// Throws Error where the content is empty, too long or added already.
  void Add(const AddedToken& token);

  /// Cuts `text` into added tokens and what lies between, in order: calls plain(stretch) and
  /// token(id). Where `skip_special`, special tokens are left in the plain stretches.
  void Split(std::string_view text, bool skip_special, RegexScratch& scratch,
             const std::function<void(std::string_view)>& plain,
             const std::function<void(int32_t)>& token) const;

  size_t size() const { return tokens_.size(); }

 private:
  static constexpr int32_t kRoot = 0;

  /// The longest token that starts at text[0]: its index; -1: none.
  int32_t Longest(std::string_view text) const;
  bool StandsAlone(std::string_view text, size_t begin, size_t end, RegexScratch& scratch) const;

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> first_byte_{};
  // A trie: edges by node << 8 | byte, and the token that ends at each node.
  std::unordered_map<uint64_t, int32_t> edges_;
  std::vector<int32_t> token_at_{-1};
  std::optional<Regex> word_character_;  // present where a token needs it
};

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_ADDED_TOKENS_H_
