#include "policy/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace tamis::policy {
namespace {

// Expectations are those of Python's fnmatch.fnmatchcase.
TEST(Pattern, MatchesAsPythonDoes) {
  const struct {
    const char* pattern;
    const char* text;
    bool matches;
  } cases[] = {
      {"*attn*", "model.layers.7.self_attn", true},
      {"*attention*", "model.layers.7.self_attn", false},
      {"model.layers.7.self_attn", "model.layers.7.self_attn", true},
      {"model.layers.7.self_attn", "model.layers.17.self_attn", false},
      {"*.layers.[0-3].*", "model.layers.2.self_attn", true},
      {"*.layers.[0-3].*", "model.layers.12.self_attn", false},
      {"*.layers.[!0-3].*", "model.layers.2.self_attn", false},
      {"*.layers.[!0-3].*", "model.layers.4.self_attn", true},
      {"*.layers.?.*", "model.layers.9.self_attn", true},
      {"*.layers.?.*", "model.layers.10.self_attn", false},
      {"*", "", true},
      {"", "", true},
      {"", "a", false},
      {"?", "", false},
      {"a*b*c", "aXbXbXc", true},
      {"a*b*c", "aXcXb", false},
      {"[abc", "[abc", true},
      {"[]]", "]", true},
      {"[!]]", "]", false},
      {"[!]]", "x", true},
      {"[a-]", "-", true},
      {"[-a]", "-", true},
      {"[z-a]", "m", false},
      {"\\*", "\\x", true},
      {"Model", "model", false},
      {"**", "anything", true},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(MatchesPattern(c.pattern, c.text), c.matches) << c.pattern << " on " << c.text;
  }
}

TEST(Pattern, ManyStarsStayFast) {
  std::string pattern, text(20000, 'a');
  for (int i = 0; i < 60; ++i) pattern += "*a";
  EXPECT_FALSE(MatchesPattern(pattern + "b", text));
  EXPECT_TRUE(MatchesPattern(pattern, text));
}

}  // namespace
}  // namespace tamis::policy
