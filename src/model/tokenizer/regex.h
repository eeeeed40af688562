// Regular expressions of pre-tokenizers: written in the reference's dialect, run by PCRE2.
#ifndef TAMIS_MODEL_TOKENIZER_REGEX_H_
#define TAMIS_MODEL_TOKENIZER_REGEX_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

// PCRE2's types, so that its header stays out of ours.
struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace tamis {

/// What PCRE2 must be given so that it matches what the reference tokenizer's engine (Oniguruma,
/// Unicode 16) matches for `pattern`. The dialects differ in \s (PCRE2 adds U+180E), in the Unicode
/// version of \p, and in the meaning of a few constructs. Throws Error for a construct that is not
/// translated, by name.
std::string TranslateOniguruma(std::string_view pattern);

/// Working memory of matching, for one thread and one text. It also bounds the time that hostile
/// patterns take: Find throws Error once the text's share of time is spent.
class RegexScratch {
 public:
  explicit RegexScratch(size_t text_bytes);
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* data_ = nullptr;
  pcre2_real_match_context_8* context_ = nullptr;
  pcre2_real_jit_stack_8* stack_ = nullptr;
  std::chrono::steady_clock::time_point deadline_;
  unsigned matches_ = 0;
};

/// A compiled pattern. Immutable: threads may share it, each with its own scratch.
class Regex {
 public:
  /// `pattern` in PCRE2's own syntax. Throws Error where it is malformed.
  explicit Regex(std::string_view pattern);
  /// `pattern` in the reference's dialect; see TranslateOniguruma.
  static Regex FromOniguruma(std::string_view pattern);
  /// Matches `text` itself, character by character.
  static Regex Literal(std::string_view text);

  /// The first match at or after `start`, as a range of `subject`, which must be well-formed
  /// UTF-8. False where there is none. Throws Error where the pattern takes too long.
  bool Find(std::string_view subject, size_t start, RegexScratch& scratch, size_t& begin,
            size_t& end) const;

 private:
  struct Release {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex(std::string_view pattern, unsigned options, std::string_view source);

  std::unique_ptr<pcre2_real_code_8, Release> code_;
  std::string source_;  // the pattern as it was given, for messages
};

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_REGEX_H_
