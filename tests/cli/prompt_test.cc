#include "cli/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/flags.h"
#include "generate/fakes.h"
#include "tamis/error.h"

namespace tamis::cli {
namespace {

using ::tamis::testing::PieceTokenizer;

/// A token a byte.
PieceTokenizer Bytes() {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  return PieceTokenizer(std::move(pieces));
}

TEST(CutText, EndsWithASentence) {
  const PieceTokenizer bytes = Bytes();
  const std::string text = "One. Two two two. \"Three!\" Four goes on and on";
  EXPECT_EQ(CutText(text, 28, bytes), "One. Two two two. \"Three!\"");
  EXPECT_EQ(CutText(text, 24, bytes), "One. Two two two.") << "a closing quote belongs to it";
  EXPECT_EQ(CutText(text, 20, bytes), "One. Two two two.");
}

TEST(CutText, ADotInsideAWordIsNoEnd) {
  EXPECT_EQ(CutText("version 1.234 of it all", 20, Bytes()), "version 1.234 of it ");
}

TEST(CutText, SentencesOfScriptsWithoutSpaces) {
  EXPECT_EQ(CutText("日本。語語語", 15, Bytes()), "日本。");
}

TEST(CutText, WithoutASentenceNoCharacterIsCut) {
  EXPECT_EQ(CutText("語語語語語語", 8, Bytes()), "語語");
  EXPECT_EQ(CutText("A. bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 20, Bytes()), "A. bbbbbbbbbbbbbbbbb")
      << "an end in the first half would lose most of the text";
}

TEST(CutText, RefusesATextThatIsTooShort) {
  EXPECT_EQ(CutText("abc", 3, Bytes()), "abc");
  EXPECT_THROW(CutText("abc", 4, Bytes()), Error);
}

TEST(ParsePolicy, LabelsAreShortAndDiffer) {
  EXPECT_EQ(ParsePolicy("xattention", {}).label, "xattention");
  EXPECT_EQ(ParsePolicy("xattention,prefill.selector.threshold=0.8", {}).label,
            "xattention threshold=0.8");
  EXPECT_EQ(ParsePolicy("streaming", {"prefill.selector.recent_tokens=256"}).label,
            "streaming recent_tokens=256");
  EXPECT_EQ(ParsePolicy("streaming,name=mine,prefill.selector.recent_tokens=256", {}).label,
            "mine");
  EXPECT_EQ(ParsePolicy("{\"name\": \"a (b)\"}", {}).label, "a (b)");
  const auto policies = ParsePolicies({"dense", "{}", "{}", "streaming"});
  ASSERT_EQ(policies.size(), 3u);
  EXPECT_EQ(policies[0].label, "custom");
  EXPECT_EQ(policies[1].label, "custom (2)");
}

TEST(ParsePolicy, CommasInsideListsBelongToTheValue) {
  const std::string spec =
      "xattention,default.prefill.selector.threshold=[0.5,0.9],prefill.selector.stride=8";
  EXPECT_EQ(ParsePolicy(spec, {}).label, "xattention threshold=[0.5,0.9] stride=8");
}

}  // namespace
}  // namespace tamis::cli
