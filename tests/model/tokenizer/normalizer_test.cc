#include "model/tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include <chrono>

#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(NormalizeNfc(""), "");
  EXPECT_EQ(NormalizeNfc("plain text\n"), "plain text\n");
  EXPECT_EQ(NormalizeNfc("e\u0301te\u0301"), "\u00e9t\u00e9");
  EXPECT_EQ(NormalizeNfc("\u00e9"), "\u00e9");
  EXPECT_EQ(NormalizeNfc("\u212b\u2126"), "\u00c5\u03a9");    // singletons
  EXPECT_EQ(NormalizeNfc("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(NormalizeNfc("q\u0307\u0323"), "q\u0323\u0307");  // by combining class
  EXPECT_EQ(NormalizeNfc("a\u0323\u0302"), "\u1ead");         // two steps
  EXPECT_EQ(NormalizeNfc("\u0915\u093c"), "\u0915\u093c");    // composition excluded
  EXPECT_EQ(NormalizeNfc("\u0301e"), "\u0301e");              // nothing before the mark
  EXPECT_EQ(NormalizeNfc(std::string_view("e\0\u0301", 4)), std::string_view("e\0\u0301", 4));
}

TEST(Nfc, PassesCharactersNewerThanTheReference) {
  // U+1DF6 (Unicode 10) has class 232: moved before U+0301 (230) by nobody, and e\u0301 behind it
  // is composed across it only where it is known.
  EXPECT_EQ(NormalizeNfc("e\u1df6\u0301"), "e\u1df6\u0301");
  EXPECT_EQ(NormalizeNfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(Nfc, LongRunsOfMarksTakeLittleTime) {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(NormalizeNfc(text).size(), text.size());  // a and U+0323 became U+1EA1
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(10));
}

}  // namespace
}  // namespace tamis
