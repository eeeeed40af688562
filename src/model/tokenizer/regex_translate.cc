// From Oniguruma's dialect (Ruby syntax) to PCRE2's.
#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/unicode_additions.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

constexpr size_t kMaxSourceBytes = 4096;
constexpr std::string_view kWhiteSpace =
    "\\t-\\r\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"
    "\\x{3000}";
// Groups that both dialects read alike. (?i) alone would not: its reach differs.
constexpr std::array<std::string_view, 8> kGroups = {"?:",  "?=",  "?!",  "?>",
                                                     "?<=", "?<!", "?i:", "?-i:"};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string Run() {
    Require(pattern_.size() <= kMaxSourceBytes,
            "a pre-tokenizer pattern holds {} bytes; at most {} are read", pattern_.size(),
            kMaxSourceBytes);
    Require(IsValidUtf8(pattern_), "a pre-tokenizer pattern is not UTF-8; mend tokenizer.json");
    while (position_ < pattern_.size()) {
      const char character = pattern_[position_];
      if (character == '\\') {
        Escape(/*in_class=*/false);
      } else if (character == '[') {
        Class();
      } else if (character == '(') {
        Group();
      } else if (character == '{') {
        Interval();
      } else {
        if (character == ')' && !caseless_.empty()) caseless_.pop_back();
        Copy(1);
      }
    }
    return std::move(output_);
  }

 private:
  bool LooksAt(std::string_view text) const { return pattern_.substr(position_).starts_with(text); }
  void Copy(size_t bytes) {
    output_ += pattern_.substr(position_, bytes);
    position_ += bytes;
  }
  [[noreturn]] void Refuse(std::string_view construct) const {
    Fail("the pre-tokenizer pattern '{}' uses {}, which is not run", Excerpt(pattern_),
         Excerpt(construct));
  }

  void Group() {
    bool caseless = !caseless_.empty() && caseless_.back();
    Copy(1);
    if (LooksAt("?")) {
      const auto* kind = std::find_if(kGroups.begin(), kGroups.end(),
                                      [&](std::string_view group) { return LooksAt(group); });
      if (kind == kGroups.end()) {
        Refuse(fmt::format("the group '({}'", pattern_.substr(position_, 2)));
      }
      if (*kind == "?i:") caseless = true;
      if (*kind == "?-i:") caseless = false;
      Copy(kind->size());
    } else if (LooksAt("*")) {
      Refuse("a group that starts with '*'");
    }
    caseless_.push_back(caseless);
  }

  /// {n}, {n,} and {n,m}; what follows it must not change its meaning in one dialect only.
  void Interval() {
    size_t end = position_ + 1;
    const auto digits = [&] {
      const size_t first = end;
      while (end < pattern_.size() && pattern_[end] >= '0' && pattern_[end] <= '9') ++end;
      return end - first;
    };
    bool well_formed = digits() > 0;
    if (well_formed && end < pattern_.size() && pattern_[end] == ',') {
      ++end;
      digits();
    }
    well_formed = well_formed && end < pattern_.size() && pattern_[end] == '}';
    if (!well_formed) Refuse("'{' other than in {n}, {n,} and {n,m}; write \\{ for the character");
    Copy(end + 1 - position_);
    if (LooksAt("?") || LooksAt("+")) Refuse("'?' or '+' after '}'");
  }

  void Class() {
    Copy(1);
    if (LooksAt("^")) Copy(1);
    if (LooksAt("]")) Refuse("an empty character class");
    while (!LooksAt("]")) {
      if (position_ >= pattern_.size()) Refuse("a character class that does not end");
      if (LooksAt("\\")) {
        Escape(/*in_class=*/true);
      } else if (LooksAt("[")) {
        Refuse("a class inside a class; write \\[ for the character");
      } else if (LooksAt("&&")) {
        Refuse("an intersection of classes");
      } else {
        Copy(1);
      }
    }
    Copy(1);
  }

  /// Members of a class, wrapped in brackets where they stand alone.
  void Members(std::string_view members, bool in_class, bool negated = false) {
    if (in_class) {
      output_ += members;
    } else {
      output_ += fmt::format("[{}{}]", negated ? "^" : "", members);
    }
  }

  void Escape(bool in_class) {
    if (position_ + 1 >= pattern_.size()) Refuse("a trailing backslash");
    const char kind = pattern_[position_ + 1];
    const bool letter_or_digit = (kind >= '0' && kind <= '9') || (kind >= 'A' && kind <= 'Z') ||
                                 (kind >= 'a' && kind <= 'z');
    if (kind == 'p' || kind == 'P') {
      Property(in_class, kind == 'P');
    } else if (kind == 'x' || kind == 'u') {
      CodePoint(kind == 'u');
    } else if (kind == 's') {
      position_ += 2;
      Members(kWhiteSpace, in_class);
    } else if (kind == 'S') {
      position_ += 2;
      // PCRE2's \S lacks U+180E, which is no white space.
      Members(in_class ? std::string_view("\\S\\x{180E}") : kWhiteSpace, in_class, true);
    } else if (kind == 'd') {
      position_ += 2;
      Members(CategoryClass("Nd"), in_class);
    } else if (kind == 'D' && !in_class) {
      position_ += 2;
      Members(CategoryClass("Nd"), in_class, true);
    } else if (std::string_view("nrtf").find(kind) != std::string_view::npos ||
               (kind == 'A' && !in_class) || (kind == 'z' && !in_class)) {
      Copy(2);
    } else if (letter_or_digit) {
      Refuse(fmt::format("'\\{}'{}", kind, in_class ? " in a class" : ""));
    } else {
      Copy(1 + DecodeUtf8(pattern_.substr(position_ + 1)).bytes);
    }
  }

  void Property(bool in_class, bool negated) {
    const size_t close = pattern_.find('}', position_);
    if (position_ + 2 >= pattern_.size() || pattern_[position_ + 2] != '{' ||
        close == std::string_view::npos) {
      Refuse("\\p without {...}");
    }
    const std::string_view name = pattern_.substr(position_ + 3, close - position_ - 3);
    const std::string members = CategoryClass(name);
    if (members.empty()) Refuse(fmt::format("\\p{{{}}}", name));
    if (negated && in_class) Refuse(fmt::format("\\P{{{}}} in a class", name));
    const bool cased = name == "Lu" || name == "Ll" || name == "Lt";
    if (cased && !caseless_.empty() && caseless_.back()) {
      Refuse(fmt::format("\\p{{{}}} where case is ignored", name));
    }
    position_ = close + 1;
    Members(members, in_class, negated);
  }

  /// \xHH, \x{H...} and \uHHHH.
  void CodePoint(bool is_u) {
    size_t first = position_ + 2;
    size_t last;
    if (!is_u && pattern_.substr(first).starts_with('{')) {
      ++first;
      last = pattern_.find('}', first);
      if (last == std::string_view::npos) Refuse("\\x{ without }");
    } else {
      last = first + (is_u ? 4 : 2);
    }
    const auto hexadecimal = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    };
    const std::string_view digits = pattern_.substr(first, last - first);
    if (digits.size() != last - first || digits.empty() || digits.size() > 6 ||
        !std::all_of(digits.begin(), digits.end(), hexadecimal)) {
      Refuse("a malformed \\x or \\u");
    }
    // In UTF-8 a two-digit \x of 80 and above is a byte to Oniguruma, a character to PCRE2.
    if (!is_u && digits.size() == 2 && pattern_[first - 1] != '{' && digits[0] >= '8') {
      Refuse(fmt::format("the byte \\x{}", digits));
    }
    output_ += fmt::format("\\x{{{}}}", digits);
    position_ = last + (pattern_[first - 1] == '{' ? 1 : 0);
  }

  std::string_view pattern_;
  size_t position_ = 0;
  std::string output_;
  std::vector<bool> caseless_;  // of the open groups
};

}  // namespace

std::string TranslateOniguruma(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace tamis
