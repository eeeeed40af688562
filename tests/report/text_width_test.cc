#include "report/text_width.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tamis {
namespace {

using ::testing::ElementsAre;

TEST(TextWidth, CountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("é"), 1);
  EXPECT_EQ(DisplayWidth("e\xcc\x81"), 1) << "a combining accent";
  EXPECT_EQ(DisplayWidth("日本"), 4);
  EXPECT_EQ(DisplayWidth("😀"), 2);
  EXPECT_EQ(DisplayWidth("µs"), 2);
  EXPECT_EQ(DisplayWidth(""), 0);
}

TEST(TextWidth, InvalidBytesCountOneEach) {
  EXPECT_EQ(DisplayWidth("a\xff\xfe"), 3);
  EXPECT_EQ(DisplayWidth("\xe6\x97"), 2) << "a cut character";
}

TEST(TextWidth, PadsOnEitherSide) {
  EXPECT_EQ(Pad("日", 4), "日  ");
  EXPECT_EQ(Pad("日", 4, true), "  日");
  EXPECT_EQ(Pad("abcdef", 4), "abcdef");
}

TEST(WrapText, BreaksAtSpacesAndNewlines) {
  EXPECT_THAT(WrapText("the quick brown fox", 10), ElementsAre("the quick", "brown fox"));
  EXPECT_THAT(WrapText("a\n\nb", 10), ElementsAre("a", "", "b"));
  EXPECT_THAT(WrapText("exactly10c next", 10), ElementsAre("exactly10c", "next"));
  EXPECT_THAT(WrapText("", 10), ElementsAre(""));
  EXPECT_THAT(WrapText("a\n", 10), ElementsAre("a"));
}

TEST(WrapText, BreaksLongWordsAndWideCharacters) {
  EXPECT_THAT(WrapText("abcdefgh", 3), ElementsAre("abc", "def", "gh"));
  EXPECT_THAT(WrapText("日本語文", 5), ElementsAre("日本", "語文"));
  EXPECT_THAT(WrapText("x abcdefg", 4), ElementsAre("x", "abcd", "efg"));
}

TEST(WrapText, NeverLetsControlCharactersThrough) {
  EXPECT_THAT(WrapText("a\x1b[31mb\tc", 20), ElementsAre("a\xef\xbf\xbd[31mb c"));
}

TEST(WrapText, NoLineIsTooWideWhateverTheText) {
  const std::string text = "aé日😀 e\xcc\x81\xff\xe6\x97 bbbbbbbbbbbbbbbb 語語語語語語語語語\n\t x";
  for (int columns = 2; columns < 40; ++columns) {
    for (const std::string& line : WrapText(text, columns)) {
      EXPECT_LE(DisplayWidth(line), columns);
    }
  }
}

}  // namespace
}  // namespace tamis
