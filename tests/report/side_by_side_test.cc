#include "report/side_by_side.h"

#include <gtest/gtest.h>

#include <string>

#include "report/text_width.h"

namespace tamis {
namespace {

Terminal Columns(int columns) {
  Terminal terminal;
  terminal.columns = columns;
  return terminal;
}

TEST(SideBySide, MarksTheFirstWordThatDiffers) {
  EXPECT_EQ(SideBySide("dense", "The man is Mr. Bingley, who is rich.", "sparse",
                       "The man is Mr. Bennet of Longbourn.", Columns(43)),
            "dense                │ sparse\n"
            "The man is Mr.       │ The man is Mr.\n"
            "»Bingley, who is     │ »Bennet of\n"
            "rich.                │ Longbourn.\n");
}

TEST(SideBySide, EqualTextsHaveNoMark) {
  EXPECT_EQ(SideBySide("a", "same\ntext", "b", "same\ntext", Columns(23)),
            "a          │ b\n"
            "same       │ same\n"
            "text       │ text\n");
}

TEST(SideBySide, OneTextEndsEarlier) {
  EXPECT_EQ(SideBySide("a", "It ends.", "b", "It ends. Not yet.", Columns(43)),
            "a                    │ b\n"
            "It ends.»            │ It ends. »Not yet.\n");
  EXPECT_EQ(SideBySide("a", "", "b", "x", Columns(23)),
            "a          │ b\n"
            "»          │ »x\n");
}

TEST(SideBySide, AWordThatGoesOnIsMarkedAtItsStart) {
  EXPECT_EQ(SideBySide("a", "say foo", "b", "say foobar", Columns(43)),
            "a                    │ b\n"
            "say »foo             │ say »foobar\n");
}

TEST(SideBySide, CharactersAreNotCut) {
  // é and è share their first byte.
  EXPECT_EQ(SideBySide("a", "é", "b", "è", Columns(23)),
            "a          │ b\n"
            "»é         │ »è\n");
  const std::string common(60, 'x');
  const std::string out = SideBySide("a", common + "日", "b", common + "本", Columns(203));
  EXPECT_NE(out.find(common + "»日"), std::string::npos) << "a long word is marked inside";
}

TEST(SideBySide, TheMarksOwnCharacterInTheTextIsNoMark) {
  Terminal terminal = Columns(43);
  terminal.colour = true;
  const std::string out = SideBySide("a", "«oui» et non", "b", "«oui» et toi", terminal);
  EXPECT_NE(out.find("«oui» et \x1b[33m»non"), std::string::npos) << out;
}

TEST(SideBySide, ColoursWhatFollows) {
  Terminal terminal = Columns(23);
  terminal.colour = true;
  const std::string out = SideBySide("a", "one two three four", "b", "one six", terminal);
  EXPECT_NE(out.find("one \x1b[33m»two  \x1b[0m │ one \x1b[33m»six  \x1b[0m"), std::string::npos)
      << out;
  EXPECT_NE(out.find("\x1b[33mthree four\x1b[0m"), std::string::npos) << out;
}

TEST(SideBySide, WideTextStaysInItsColumn) {
  const std::string out = SideBySide("a", "日本語日本語日本語", "b", "日本語", Columns(21));
  for (size_t at = 0; at < out.size();) {
    const size_t end = out.find('\n', at);
    const std::string line = out.substr(at, end - at);
    EXPECT_EQ(DisplayWidth(line.substr(0, line.find("│"))), 10) << line;
    at = end + 1;
  }
}

}  // namespace
}  // namespace tamis
