#include "model/tokenizer/pre_tokenizer.h"

#include "model/tokenizer/test_tokenizer.h"

namespace tamis {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Pieces(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::vector<std::string> pieces;
  RegexScratch scratch(text.size());
  pre_tokenizer.Split(text, scratch, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

PreTokenizer SplitAt(std::string_view pattern, SplitBehavior behavior, bool invert = false) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddSplit(Regex::FromOniguruma(pattern), behavior, invert);
  return pre_tokenizer;
}

TEST(PreTokenizer, Behaviors) {
  using enum SplitBehavior;
  const std::string text = "-one-two--three";
  EXPECT_THAT(Pieces(SplitAt("-", kIsolated), text),
              ElementsAre("-", "one", "-", "two", "-", "-", "three"));
  EXPECT_THAT(Pieces(SplitAt("-", kRemoved), text), ElementsAre("one", "two", "three"));
  EXPECT_THAT(Pieces(SplitAt("-", kMergedWithPrevious), text),
              ElementsAre("-", "one-", "two-", "-", "three"));
  EXPECT_THAT(Pieces(SplitAt("-", kMergedWithNext), text),
              ElementsAre("-one", "-two", "-", "-three"));
  EXPECT_THAT(Pieces(SplitAt("-", kContiguous), text),
              ElementsAre("-", "one", "-", "two", "--", "three"));
  EXPECT_THAT(Pieces(SplitAt("[a-z]+", kRemoved, true), text), ElementsAre("one", "two", "three"));
  EXPECT_THAT(Pieces(SplitAt("x*", kIsolated), "axb"), ElementsAre("a", "x", "b"));
  EXPECT_THAT(Pieces(SplitAt("-", kIsolated), ""), IsEmpty());
  EXPECT_THAT(Pieces(SplitAt("-", kRemoved), "--"), IsEmpty());
}

TEST(PreTokenizer, PublishedPatterns) {
  const auto split = [](std::string_view pattern, std::string_view text) {
    return Pieces(SplitAt(pattern, SplitBehavior::kIsolated), text);
  };
  const std::string text = "I'LL don't 1234!!\n\n  x";
  EXPECT_THAT(split(kGpt2Pattern, text),
              ElementsAre("I", "'", "LL", " don", "'t", " 1234", "!!", "\n\n ", " x"));
  EXPECT_THAT(split(kLlama3Pattern, text),
              ElementsAre("I", "'LL", " don", "'t", " ", "123", "4", "!!\n\n", " ", " x"));
  EXPECT_THAT(split(kQwen2Pattern, text),
              ElementsAre("I", "'LL", " don", "'t", " ", "1", "2", "3", "4", "!!\n\n", " ", " x"));
  EXPECT_THAT(split(kGpt4oPattern, "I'LL HTTPServer/"), ElementsAre("I'LL", " HTTPServer", "/"));
}

TEST(PreTokenizer, DigitsAreUnicodeNumbers) {
  PreTokenizer single;
  single.AddDigits(/*individual=*/true);
  EXPECT_THAT(
      Pieces(single, "a12\u00bd\u0661\u2460\u2167\U00011de0\u4e00b"),
      ElementsAre("a", "1", "2", "\u00bd", "\u0661", "\u2460", "\u2167", "\U00011de0", "\u4e00b"));
  PreTokenizer runs;
  runs.AddDigits(/*individual=*/false);
  EXPECT_THAT(Pieces(runs, "a12\u00bd b3"), ElementsAre("a", "12\u00bd", " b", "3"));
}

TEST(PreTokenizer, PrefixSpaceBeforeEveryPiece) {
  PreTokenizer pre_tokenizer = SplitAt("\\|", SplitBehavior::kIsolated);
  pre_tokenizer.AddByteLevel(/*add_prefix_space=*/true, /*use_regex=*/true);
  EXPECT_THAT(Pieces(pre_tokenizer, "a b| c"), ElementsAre(" a", " b", " |", " c"));
}

}  // namespace
}  // namespace tamis
