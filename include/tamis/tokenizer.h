// Tokenizers: text to ids and back.
#ifndef TAMIS_TOKENIZER_H_
#define TAMIS_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tamis {

/// What a checkpoint says about its tokenizer when it carries it inside (GGUF metadata).
struct TokenizerMetadata {
  std::string model;  ///< tokenizer.ggml.model: "gpt2" is byte-level BPE
  std::string pre;    ///< tokenizer.ggml.pre: names the pre-tokenizer
  std::vector<std::string> tokens;
  std::vector<int32_t> token_types;  ///< 1 normal, 3 control, 4 user-defined, ...
  std::vector<std::string> merges;   ///< "left right"
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  bool add_bos = false;
  std::string chat_template;
};

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// A byte-level BPE tokenizer. Immutable and safe to use from several threads.
class Tokenizer {
 public:
  /// From a HuggingFace directory (tokenizer.json, with tokenizer_config.json and
  /// generation_config.json where present) or the path of a tokenizer.json. Throws Error for other
  /// kinds, by name.
  static std::unique_ptr<Tokenizer> FromFile(const std::string& path);
  static std::unique_ptr<Tokenizer> FromMetadata(const TokenizerMetadata& metadata);
  virtual ~Tokenizer() = default;

  /// Invalid UTF-8 is read as U+FFFD. Added tokens in the text are recognised when
  /// `parse_special`; otherwise special ones are read as plain text. `add_bos`: prepend the
  /// beginning-of-sequence token where the tokenizer asks for one.
  virtual std::vector<int32_t> Encode(std::string_view text, bool parse_special = true,
                                      bool add_bos = true) const = 0;
  /// Bytes of the ids; special tokens are left out unless `keep_special`. May be invalid UTF-8
  /// where a character is cut: see StreamDecoder. Throws Error for an id out of range.
  virtual std::string Decode(std::span<const int32_t> ids, bool keep_special = false) const = 0;

  virtual int32_t vocab_size() const = 0;
  /// The token's text as the vocabulary spells it.
  virtual std::string_view TokenText(int32_t id) const = 0;
  virtual int32_t bos_id() const = 0;                     ///< -1: none
  virtual std::span<const int32_t> stop_ids() const = 0;  ///< end of sequence and end of turn
  /// One line for `inspect`: kind, pre-tokenizer, vocabulary, merges, added tokens, template.
  virtual std::string Summary() const = 0;

  /// True where the checkpoint's chat template is one of the known families.
  virtual bool has_chat_template() const = 0;
  /// Renders a conversation with the checkpoint's template, ending with the generation prompt. The
  /// text begins with the beginning-of-sequence token where the template writes it: encode it with
  /// `add_bos` false. Dates are the template's fixed default, not today's, so that runs repeat.
  /// Throws Error where there is no known template.
  virtual std::string RenderChat(std::span<const ChatMessage> messages) const = 0;
};

/// Turns a stream of ids into text that never cuts a UTF-8 character: bytes of an unfinished
/// character wait for the next token.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// The text that became complete.
  std::string Push(int32_t id);
  /// What still waits, invalid bytes as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace tamis

#endif  // TAMIS_TOKENIZER_H_
