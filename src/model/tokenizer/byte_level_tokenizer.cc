#include "model/tokenizer/byte_level_tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/check.h"
#include "model/tokenizer/chat_template.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

// Positions inside a text and its match limits are kept in 32 bits.
constexpr size_t kMaxTextBytes = size_t{1} << 30;
constexpr std::array<std::string_view, 3> kTurnEnds = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>"};

class ByteLevelTokenizer final : public Tokenizer {
 public:
  explicit ByteLevelTokenizer(TokenizerParts parts)
      : parts_(std::move(parts)), template_(ChatTemplate::Detect(parts_.chat_template)) {
    bytes_.reserve(parts_.tokens.size());
    for (const std::string& spelling : parts_.tokens) {
      // A spelling with a character outside the byte alphabet stands for itself.
      bytes_.push_back(BytesOfSpelling(spelling).value_or(spelling));
    }
    special_.resize(parts_.tokens.size());
    for (AddedToken token : parts_.added) {
      if (token.normalized && parts_.nfc) {
        token.content = NormalizeNfc(token.content);
        bytes_[token.id] = BytesOfSpelling(token.content).value_or(token.content);
      }
      (token.normalized ? normalized_matcher_ : raw_matcher_).Add(token);
      special_[token.id] = token.special;
    }
    std::sort(parts_.stop_ids.begin(), parts_.stop_ids.end());
    parts_.stop_ids.erase(std::unique(parts_.stop_ids.begin(), parts_.stop_ids.end()),
                          parts_.stop_ids.end());
  }

  std::vector<int32_t> Encode(std::string_view text, bool parse_special,
                              bool add_bos) const override {
    Require(text.size() <= kMaxTextBytes,
            "the text holds {} bytes; at most {} are encoded at once: cut it", text.size(),
            kMaxTextBytes);
    std::string repaired;
    if (!IsValidUtf8(text)) {
      AppendRepaired(text, repaired);
      text = repaired;
    }
    std::vector<int32_t> ids;
    if (add_bos) ids = parts_.prefix;
    RegexScratch regex_scratch(text.size());
    Bpe::Scratch bpe_scratch;
    const auto token = [&](int32_t id) { ids.push_back(id); };
    const auto split = [&](std::string_view stretch) {
      parts_.pre_tokenizer.Split(stretch, regex_scratch, [&](std::string_view piece) {
        parts_.bpe.Encode(piece, bpe_scratch, ids);
      });
    };
    const auto normalize = [&](std::string_view stretch) {
      std::string normalized;
      if (parts_.nfc) {
        normalized = NormalizeNfc(stretch);
        stretch = normalized;
      }
      normalized_matcher_.Split(stretch, !parse_special, regex_scratch, split, token);
    };
    raw_matcher_.Split(text, !parse_special, regex_scratch, normalize, token);
    return ids;
  }

  std::string Decode(std::span<const int32_t> ids, bool keep_special) const override {
    std::string text;
    for (const int32_t id : ids) {
      CheckId(id);
      if (keep_special || !special_[id]) text += bytes_[id];
    }
    return text;
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(parts_.tokens.size()); }

  std::string_view TokenText(int32_t id) const override {
    CheckId(id);
    return parts_.tokens[id];
  }

  int32_t bos_id() const override { return parts_.bos_id; }
  std::span<const int32_t> stop_ids() const override { return parts_.stop_ids; }

  std::string Summary() const override {
    return fmt::format(
        "byte-level BPE, {} tokens, {} merges, {} added tokens, pre-tokenizer {}{}, chat template "
        "{}",
        parts_.tokens.size(), parts_.bpe.merges(), parts_.added.size(), parts_.pre_tokenizer_name,
        parts_.nfc ? ", NFC" : "",
        template_                      ? template_->name()
        : parts_.chat_template.empty() ? std::string_view("none")
                                       : std::string_view("unknown"));
  }

  bool has_chat_template() const override { return template_.has_value(); }

  std::string RenderChat(std::span<const ChatMessage> messages) const override {
    Require(!parts_.chat_template.empty(),
            "the checkpoint has no chat template; write the whole prompt yourself with --raw");
    Require(template_.has_value(),
            "the checkpoint's chat template is none of {}; write the whole prompt yourself with "
            "--raw",
            ChatTemplate::kKnown);
    return template_->Render(messages,
                             parts_.bos_id < 0 ? std::string() : parts_.tokens[parts_.bos_id]);
  }

 private:
  void CheckId(int32_t id) const {
    Require(id >= 0 && id < vocab_size(), "token id {} is outside the vocabulary, 0 to {}", id,
            vocab_size() - 1);
  }

  TokenizerParts parts_;
  std::optional<ChatTemplate> template_;
  std::vector<std::string> bytes_;  // by id, what a token stands for in the text
  std::vector<bool> special_;       // by id
  AddedTokenMatcher raw_matcher_;
  AddedTokenMatcher normalized_matcher_;
};

}  // namespace

void TokenizerParts::SetToken(int32_t id, std::string_view spelling) {
  if (id < 0 || id >= kMaxVocabulary) {
    Fail("token '{}' has id {}; ids run from 0 to {}", Excerpt(spelling), id, kMaxVocabulary - 1);
  }
  Require(!spelling.empty(), "token {} is empty", id);
  if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(id + 1);
  if (!tokens[id].empty() && tokens[id] != spelling) {
    Fail("tokens '{}' and '{}' share the id {}", Excerpt(tokens[id]), Excerpt(spelling), id);
  }
  tokens[id] = spelling;
}

void TokenizerParts::RequireToken(int64_t id, std::string_view what) const {
  Require(id >= 0 && id < static_cast<int64_t>(tokens.size()) && !tokens[id].empty(),
          "{} is {}, which names no token; the vocabulary has {}", what, id, tokens.size());
}

void TokenizerParts::AddTurnEnds() {
  for (const AddedToken& token : added) {
    const bool ends_turn =
        std::find(kTurnEnds.begin(), kTurnEnds.end(), token.content) != kTurnEnds.end();
    if (token.special && ends_turn) stop_ids.push_back(token.id);
  }
}

std::unique_ptr<Tokenizer> MakeTokenizer(TokenizerParts parts) {
  for (const AddedToken& token : parts.added) parts.RequireToken(token.id, "an added token's id");
  return std::make_unique<ByteLevelTokenizer>(std::move(parts));
}

}  // namespace tamis
