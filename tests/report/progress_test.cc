#include "report/progress.h"

#include <gtest/gtest.h>

#include "report/text_width.h"

namespace tamis {
namespace {

TEST(Progress, ShowsBarShareRateAndTimeLeft) {
  const ProgressState state{"reading", 1024, 4096, 2.0, "tokens"};
  EXPECT_EQ(FormatProgress(state, 70),
            "reading  [███████▎                     ]   25%  512 tokens/s  ETA 0:06");
}

TEST(Progress, KnowsNothingBeforeTheFirstStep) {
  EXPECT_EQ(FormatProgress({"reading", 0, 4096, 1.5, "tokens"}, 30),
            "reading  [             ]    0%");
}

TEST(Progress, LongTimesHaveHours) {
  const std::string line = FormatProgress({"t", 1, 100, 60.0, ""}, 80);
  EXPECT_NE(line.find("ETA 1:39:00"), std::string::npos) << line;
}

TEST(Progress, NeverWiderThanTheTerminalNorPastTheEnd) {
  const ProgressState state{"a rather long title of a step", 5000, 4096, 3.0, "tokens"};
  for (int columns = 8; columns < 120; ++columns) {
    EXPECT_LE(DisplayWidth(FormatProgress(state, columns)), columns);
  }
  EXPECT_NE(FormatProgress(state, 100).find("100%"), std::string::npos);
}

TEST(Progress, SilentWhereStderrIsNoTerminal) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress("x", 10);
    progress.Update(5);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace tamis
