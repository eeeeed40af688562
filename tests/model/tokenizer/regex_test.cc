#include "model/tokenizer/regex.h"

#include <chrono>

#include "model/tokenizer/test_tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

using testing::ExpectError;

/// Whether `pattern` matches the whole of `text`.
bool Matches(const std::string& pattern, const std::string& text) {
  const Regex regex = Regex::FromOniguruma(pattern);
  RegexScratch scratch(text.size());
  size_t begin = 0;
  size_t end = 0;
  return regex.Find(text, 0, scratch, begin, end) && begin == 0 && end == text.size();
}

TEST(Regex, ReadsTheReferenceDialect) {
  EXPECT_TRUE(Matches(R"(\p{L}+)", "na\u00efve\u3042"));
  EXPECT_TRUE(Matches(R"([^\s\p{L}]+)", "1,2!"));
  EXPECT_FALSE(Matches(R"([^\s\p{L}]+)", "1 2"));
  EXPECT_TRUE(Matches(R"((?i:'ll|'d))", "'LL"));
  EXPECT_TRUE(Matches(R"((?i:'s))", "'\u017f"));
  EXPECT_FALSE(Matches(R"((?i:a)b)", "AB"));
  EXPECT_TRUE(Matches(R"(\u3042\x{3044}\x41)", "\u3042\u3044A"));
  EXPECT_TRUE(Matches(R"(\P{L}\D\S)", "1xy"));
  EXPECT_TRUE(Matches(R"([\[\]\\{}^-]+)", R"([]\{}^-)"));
  EXPECT_TRUE(Matches(R"(\p{N}{1,3})", "12\u00bd"));
  // . stops at line feeds, $ matches before them.
  EXPECT_TRUE(Matches(".*", "a\r"));
  EXPECT_FALSE(Matches(".*", "a\nb"));
  EXPECT_TRUE(Matches("a$\nb", "a\nb"));
}

TEST(Regex, WhiteSpaceIsUnicodes) {
  for (const char* space : {" ", "\t", "\n", "\x0b", "\x0c", "\r", "\u0085", "\u00a0", "\u1680",
                            "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"}) {
    EXPECT_TRUE(Matches(R"(\s)", space)) << Excerpt(space);
    EXPECT_FALSE(Matches(R"([\S])", space)) << Excerpt(space);
  }
  for (const char* other : {"\u180e", "\u200b", "\x1c", "\ufeff", "x"}) {
    EXPECT_FALSE(Matches(R"(\s)", other)) << Excerpt(other);
    EXPECT_TRUE(Matches(R"(\S)", other)) << Excerpt(other);
    EXPECT_TRUE(Matches(R"([\S])", other)) << Excerpt(other);
  }
}

TEST(Regex, KnowsCharactersOfUnicode16) {
  EXPECT_TRUE(Matches(R"(\p{Lu})", "\u1c89"));
  EXPECT_TRUE(Matches(R"([\p{L}])", "\U00031350"));
  EXPECT_FALSE(Matches(R"([^\p{L}])", "\U00031350"));
  EXPECT_FALSE(Matches(R"(\P{L})", "\U00031350"));
  EXPECT_TRUE(Matches(R"(\p{N})", "\U0001ccf0"));
  EXPECT_TRUE(Matches(R"(\p{M})", "\u0897"));
  EXPECT_FALSE(Matches(R"(\p{L})", "\u0378"));  // unassigned
}

TEST(Regex, RefusesWhatTheDialectsReadDifferently) {
  const auto refuse = [](const char* pattern, const char* what) {
    ExpectError([&] { TranslateOniguruma(pattern); }, what);
  };
  refuse(R"(\w+)", R"('\w')");
  refuse(R"(\h)", R"('\h')");
  refuse(R"(\bx)", R"('\b')");
  refuse(R"((a)\1)", R"('\1')");
  refuse(R"([\D])", R"('\D' in a class)");
  refuse(R"(\p{Greek})", R"(\p{Greek})");
  refuse(R"(\p{Mn})", R"(\p{Mn})");
  refuse(R"(\p{^L})", R"(\p{^L})");
  refuse(R"([\P{L}])", "in a class");
  refuse(R"(\pL)", R"(\p without)");
  refuse(R"((?i:\p{Lu}))", "where case is ignored");
  refuse("(?i)a", "the group '(?i'");
  refuse("(?m:.)", "the group '(?m'");
  refuse("(?<name>a)", "the group '(?<'");
  refuse("(*UTF)a", "starts with '*'");
  refuse("[a[bc]]", "a class inside a class");
  refuse("[a-z&&[^b]]", "intersection");
  refuse("[]a]", "empty character class");
  refuse("[abc", "does not end");
  refuse("[", "does not end");
  refuse("a{,3}", "'{'");
  refuse("a{2}+", "after '}'");
  refuse("a{2,3}?", "after '}'");
  refuse("a\\", "trailing backslash");
  refuse(R"(\x{110000000})", R"(malformed \x)");
  refuse(R"(\xF)", R"(malformed \x)");
  refuse(R"(\xE9)", R"(the byte \xE9)");
  refuse("\xFF", "not UTF-8");
  ExpectError([] { TranslateOniguruma(std::string(5000, 'a')); }, "5000 bytes");
  ExpectError([] { Regex("(a"); }, "does not compile");
  ExpectError([] { Regex(R"(\x{110000})"); }, "does not compile");
}

TEST(Regex, HostilePatternsEnd) {
  const std::string text = std::string(2000, 'a') + "b";
  for (const char* pattern : {"(a+)+$", "(a|aa)+$", "(?:a?){30}a{30}$", "((a*)*)*c"}) {
    const auto started = std::chrono::steady_clock::now();
    const Regex regex = Regex::FromOniguruma(pattern);
    RegexScratch scratch(text.size());
    size_t begin = 0;
    size_t end = 0;
    try {
      for (size_t at = 0; at < text.size() && regex.Find(text, at, scratch, begin, end); ++at) {
      }
    } catch (const Error&) {
      // Refused: as good as done.
    }
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20)) << pattern;
  }
}

TEST(Regex, LongRunsOfSpaceAreNotHostile) {
  const std::string text(3'000'000, ' ');
  EXPECT_TRUE(Matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", text));
}

}  // namespace
}  // namespace tamis
