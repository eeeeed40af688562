#include "model/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace tamis {
namespace {

std::string Repaired(std::string_view text) {
  std::string repaired;
  AppendRepaired(text, repaired);
  return repaired;
}

TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(Repaired("plain \u00e9 \u3042 \U0001F600"), "plain \u00e9 \u3042 \U0001F600");
  EXPECT_EQ(Repaired("\x80"), r);
  EXPECT_EQ(Repaired("a\xFFz"), "a" + r + "z");
  EXPECT_EQ(Repaired("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(Repaired("\xE0\x80\xAF"), r + r + r);          // overlong
  EXPECT_EQ(Repaired("\xED\xA0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(Repaired("\xF4\x91\x92\x93"), r + r + r + r);  // past U+10FFFF
  EXPECT_EQ(Repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                     "A"),
            r + r + r + r + "A");
  EXPECT_EQ(Repaired("\xF0\x9F\x98"), r);  // cut
  EXPECT_EQ(Repaired("\xC3"), r);
  EXPECT_EQ(Repaired(std::string_view("\0\xC3", 2)), std::string(1, '\0') + r);
}

TEST(Utf8, EveryCharacterSurvives) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, text);
    const Utf8Step step = DecodeUtf8(text);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kCharacter);
    ASSERT_EQ(step.character, c);
    ASSERT_EQ(step.bytes, text.size());
  }
}

TEST(Utf8, ByteAlphabetIsOneToOne) {
  std::string all;
  std::string spelled;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(static_cast<char>(byte));
    AppendUtf8(ByteAlphabet()[byte], spelled);
  }
  EXPECT_EQ(BytesOfSpelling(spelled), all);
  EXPECT_EQ(ByteAlphabet()[' '], U'\u0120');
  EXPECT_EQ(ByteAlphabet()['\n'], U'\u010A');
  EXPECT_EQ(ByteAlphabet()[0xAD], U'\u0143');
  EXPECT_EQ(BytesOfSpelling("two words"), std::nullopt);
  EXPECT_EQ(BytesOfSpelling("\u0144"), std::nullopt);
}

TEST(Utf8, ExcerptsFitALine) {
  EXPECT_EQ(Excerpt("a\nb\x01\xFF"), "a\\nb\\x01\uFFFD");
  EXPECT_EQ(Excerpt(std::string(1000, 'x')), std::string(60, 'x') + "...");
}

}  // namespace
}  // namespace tamis
