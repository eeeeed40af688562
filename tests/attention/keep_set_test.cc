#include "tamis/keep_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tamis/error.h"

namespace tamis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

TEST(KeepSet, HoldsWhatItIsGiven) {
  const KeepSet set(10, {{0, 3, 9}, {}});
  EXPECT_EQ(set.kv_heads(), 2);
  EXPECT_EQ(set.key_tokens(), 10);
  EXPECT_THAT(set.kept(0), ElementsAre(0, 3, 9));
  EXPECT_THAT(set.kept(1), IsEmpty());
}

TEST(KeepSet, RefusesWhatIsOutOfRangeOrOrder) {
  EXPECT_THAT([] { KeepSet(-1, {{}}); }, ThrowsMessage<Error>(HasSubstr("-1 keys")));
  EXPECT_THAT([] { KeepSet(4, {}); }, ThrowsMessage<Error>(HasSubstr("without KV heads")));
  EXPECT_THAT(
      [] {
        KeepSet(4, {{0}, {4}});
      },
      ThrowsMessage<Error>(HasSubstr("key 4 for KV head 1; keys lie in [0, 4)")));
  EXPECT_THAT([] { KeepSet(4, {{-1}}); }, ThrowsMessage<Error>(HasSubstr("key -1")));
  EXPECT_THAT([] { KeepSet(4, {{2, 2}}); }, ThrowsMessage<Error>(HasSubstr("key 2 after key 2")));
  EXPECT_THAT([] { KeepSet(4, {{3, 1}}); }, ThrowsMessage<Error>(HasSubstr("key 1 after key 3")));
}

TEST(KeepSet, SinkAndRecentMeetWithoutOverlap) {
  EXPECT_THAT(KeepSet::SinkAndRecent(2, 10, 2, 3).kept(1), ElementsAre(0, 1, 7, 8, 9));
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 4, 2, 3).kept(0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 4, 9, 9).kept(0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 4, 0, 1).kept(0), ElementsAre(3));
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 4, 0, 0).kept(0), IsEmpty());
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 0, 4, 4).kept(0), IsEmpty());
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  EXPECT_THAT(KeepSet::SinkAndRecent(1, 2, kMost, kMost).kept(0), ElementsAre(0, 1));
  EXPECT_THROW(KeepSet::SinkAndRecent(0, 4, 1, 1), Error);
  EXPECT_THROW(KeepSet::SinkAndRecent(1, -4, 1, 1), Error);
  EXPECT_THROW(KeepSet::SinkAndRecent(1, 4, -1, 1), Error);
  EXPECT_THROW(KeepSet::SinkAndRecent(1, 4, 1, -1), Error);
}

}  // namespace
}  // namespace tamis
