#include "model/tokenizer/bpe.h"

#include <chrono>
#include <random>

#include "model/tokenizer/test_tokenizer.h"

namespace tamis {
namespace {

using ::testing::ElementsAre;
using testing::ExpectError;
using ::testing::IsEmpty;
using Ids = std::vector<int32_t>;

Ids Encode(const Bpe& bpe, std::string_view piece) {
  Bpe::Scratch scratch;
  Ids ids;
  bpe.Encode(piece, scratch, ids);
  return ids;
}

/// Byte pair encoding as it is defined: merge the lowest rank, leftmost, until nothing merges.
Ids Naive(const std::vector<std::pair<std::string, std::string>>& merges, const Bpe& bpe,
          std::string_view piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  while (true) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1]));
      const auto rank = static_cast<size_t>(found - merges.begin());
      if (rank < best_rank) {
        best_rank = rank;
        best = i;
      }
    }
    if (best_rank == merges.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(bpe.Find(part));
  return ids;
}

TEST(Bpe, MergesLikeTheDefinition) {
  std::mt19937 random(5);
  for (int trial = 0; trial < 60; ++trial) {
    Bpe bpe;
    std::vector<std::string> tokens = {"a", "b", "c"};
    for (int i = 0; i < 3; ++i) bpe.AddToken(tokens[i], i);
    std::vector<std::pair<std::string, std::string>> merges;
    while (merges.size() < 25) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
      if (bpe.Find(left + right) < 0) {
        bpe.AddToken(left + right, static_cast<int32_t>(tokens.size()));
        tokens.push_back(left + right);
      }
      merges.emplace_back(left, right);
      bpe.AddMerge(left, right);
    }
    Bpe::Scratch scratch;
    for (int piece = 0; piece < 40; ++piece) {
      std::string text(random() % 80, ' ');
      for (char& c : text) c = static_cast<char>('a' + random() % 3);
      const Ids expected = Naive(merges, bpe, text);
      for (int pass = 0; pass < 2; ++pass) {  // merged, then from the cache
        Ids ids;
        bpe.Encode(text, scratch, ids);
        ASSERT_EQ(ids, expected) << text;
      }
    }
  }
}

TEST(Bpe, LongRunsTakeLittleTime) {
  Bpe bpe;
  std::string token = "a";
  bpe.AddToken(token, 0);
  for (int32_t id = 1; id < 8; ++id) {
    bpe.AddToken(token + token, id);
    bpe.AddMerge(token, token);
    token += token;
  }
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(Encode(bpe, std::string(1 << 20, 'a')), Ids((1 << 20) / 128, 7));
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(10));
}

TEST(Bpe, IgnoreMergesTakesWholePieces) {
  Bpe bpe;
  bpe.AddToken("a", 0);
  bpe.AddToken("b", 1);
  bpe.AddToken("ab", 2);
  EXPECT_THAT(Encode(bpe, "ab"), ElementsAre(0, 1));
  bpe.set_ignore_merges(true);
  EXPECT_THAT(Encode(bpe, "ab"), ElementsAre(2));
  EXPECT_THAT(Encode(bpe, "aba"), ElementsAre(0, 1, 0));
}

TEST(Bpe, BytesWithoutAToken) {
  Bpe bpe;
  bpe.AddToken("a", 0);
  bpe.AddToken("aa", 1);
  bpe.AddToken("?", 2);
  bpe.AddMerge("a", "a");
  EXPECT_THAT(Encode(bpe, "axxa"), ElementsAre(1)) << "dropped, as the reference drops them";
  EXPECT_THAT(Encode(bpe, "xx"), IsEmpty());
  bpe.set_unknown(2, /*fuse=*/false);
  EXPECT_THAT(Encode(bpe, "axxa"), ElementsAre(0, 2, 2, 0));
  bpe.set_unknown(2, /*fuse=*/true);
  EXPECT_THAT(Encode(bpe, "axxayxx"), ElementsAre(0, 2, 0, 2));
}

TEST(Bpe, RefusesBrokenVocabularies) {
  Bpe bpe;
  bpe.AddToken("a", 0);
  bpe.AddToken("b", 1);
  ExpectError([&] { bpe.AddToken("a", 2); }, "'a' twice");
  ExpectError([&] { bpe.AddMerge("a", "b"); }, "merge 0 ('a' and 'b')");
  ExpectError([&] { bpe.AddMerge("a", "z\n"); }, "('a' and 'z\\n')");
  ExpectError([&] { bpe.AddMerge("ab"); }, "not two tokens");
  ExpectError([&] { bpe.AddMerge("a b c"); }, "not two tokens");
}

}  // namespace
}  // namespace tamis
