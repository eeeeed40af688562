// Splitting text into the pieces that BPE merges within.
#ifndef TAMIS_MODEL_TOKENIZER_PRE_TOKENIZER_H_
#define TAMIS_MODEL_TOKENIZER_PRE_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/regex.h"

namespace tamis {

/// What becomes of the matches of a pattern, as in HuggingFace tokenizers.
enum class SplitBehavior : uint8_t {
  kIsolated,            ///< every match is a piece, and so is what lies between
  kRemoved,             ///< matches are dropped
  kMergedWithPrevious,  ///< a match is appended to the piece before it
  kMergedWithNext,      ///< a match is prepended to the piece after it
  kContiguous,          ///< neighbouring matches form one piece
};

/// Patterns of published tokenizers, in the reference's dialect.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// A sequence of splits, each applied to the pieces of the one before. Immutable and safe to use
/// from several threads.
class PreTokenizer {
 public:
  /// Splits at `regex`; `invert` exchanges matches and the rest.
  void AddSplit(Regex regex, SplitBehavior behavior, bool invert = false);
  /// Each digit (any Nd, Nl or No) on its own, or runs of them.
  void AddDigits(bool individual);
  /// GPT-2's split (where `use_regex`), after a space was put before pieces that start with none
  /// (where `add_prefix_space`).
  void AddByteLevel(bool add_prefix_space, bool use_regex);

  /// Calls `sink` with the pieces of `text` (well-formed UTF-8), in order; none is empty. A piece
  /// is valid only during its call.
  void Split(std::string_view text, RegexScratch& scratch,
             const std::function<void(std::string_view)>& sink) const;

  size_t size() const { return steps_.size(); }

 private:
  struct Step {
    std::optional<Regex> regex;  // none: only the prefix space
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    bool add_prefix_space = false;
  };
  using Sink = std::function<void(std::string_view)>;

  void Apply(size_t step, std::string_view piece, RegexScratch& scratch, const Sink& sink) const;

  std::vector<Step> steps_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_PRE_TOKENIZER_H_
