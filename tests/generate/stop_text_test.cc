#include "generate/stop_text.h"

#include <gtest/gtest.h>

#include "tamis/error.h"

namespace tamis {
namespace {

/// Pushes the text in pieces of `step` bytes; returns all that came out.
std::string Filter(StopTextFilter& filter, const std::string& text, size_t step) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += step) out += filter.Push(text.substr(at, step));
  return out + filter.Finish();
}

TEST(StopTextFilter, EveryCutOfTheStreamGivesTheSameText) {
  const std::string text = "one\n\nHumaHuman: two Human: three";
  for (size_t step = 1; step <= text.size(); ++step) {
    StopTextFilter filter({"Human:", "zzz"});
    EXPECT_EQ(Filter(filter, text, step), "one\n\nHuma") << "step " << step;
    EXPECT_TRUE(filter.stopped());
  }
}

TEST(StopTextFilter, HoldsBackOnlyWhatMayBecomeAStop) {
  StopTextFilter filter({"abab!"});
  EXPECT_EQ(filter.Push("xab"), "x");
  EXPECT_EQ(filter.Push("ab"), "");
  EXPECT_EQ(filter.Push("ab"), "ab") << "the first two can no longer belong to a stop";
  EXPECT_EQ(filter.Push("?"), "abab?");
  EXPECT_EQ(filter.Push("a"), "");
  EXPECT_EQ(filter.Finish(), "a");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopTextFilter, OverlappingOccurrenceIsFound) {
  StopTextFilter filter({"aab"});
  EXPECT_EQ(Filter(filter, "aaaab", 1), "aa");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopTextFilter, TheStopThatEndsFirstWins) {
  for (size_t step = 1; step <= 7; ++step) {
    StopTextFilter filter({"bcdefg", "cd"});
    EXPECT_EQ(Filter(filter, "abcdefg", step), "ab") << "step " << step;
  }
  StopTextFilter together({"d", "bcd"});
  EXPECT_EQ(Filter(together, "abcd", 1), "a");
}

TEST(StopTextFilter, NothingComesAfterAStop) {
  StopTextFilter filter({"."});
  EXPECT_EQ(filter.Push("a.b"), "a");
  EXPECT_EQ(filter.Push("c"), "");
  EXPECT_EQ(filter.Finish(), "");
}

TEST(StopTextFilter, RefusesAnEmptyStop) { EXPECT_THROW(StopTextFilter({"x", ""}), Error); }

}  // namespace
}  // namespace tamis
