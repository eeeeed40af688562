#include "tamis/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "generate/fakes.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::CountingCache;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::PieceTokenizer;
using testing::ScriptedModel;

/// Pieces: 0-2 letters, 3-4 the halves of "é", 5 the end of turn.
PieceTokenizer Letters() { return PieceTokenizer({"a", "b", "c", "\xc3", "\xa9", "<end>"}, {5}); }

struct Outcome {
  GenerateResult result;
  std::vector<std::string> texts;
  std::vector<int32_t> prefill;
  std::vector<int32_t> steps;
};

struct ScriptOptions {
  GenerateOptions generate;
  int32_t capacity = 64;
  std::function<bool()> interrupted;
};

Outcome RunScript(std::vector<int32_t> prompt, std::vector<int32_t> script,
                  ScriptOptions options = {}) {
  ThreadPool pool(1);
  const PieceTokenizer tokenizer = Letters();
  ScriptedModel model(tokenizer.vocab_size(), static_cast<int32_t>(prompt.size()), script);
  CountingCache cache(options.capacity);
  ExecutionContext context;
  context.pool = &pool;
  PolicyAttention attention(Policy::Dense(), model.policy_target(), context);
  Outcome run;
  GenerateCallbacks callbacks;
  callbacks.on_text = [&](std::string_view text) { run.texts.emplace_back(text); };
  callbacks.on_prefill = [&](int32_t done, int32_t) { run.prefill.push_back(done); };
  callbacks.interrupted = options.interrupted;
  run.result = Generate(model, tokenizer, cache, attention, prompt, options.generate, callbacks);
  run.steps = model.steps();
  return run;
}

TEST(Generate, StopsAtAStopTokenAndLeavesItOut) {
  const Outcome run = RunScript({0, 1, 2}, {1, 2, 5, 0});
  EXPECT_EQ(run.result.text, "bc");
  EXPECT_THAT(run.result.tokens, ElementsAre(1, 2));
  EXPECT_EQ(run.result.finish, FinishReason::kStopToken);
  EXPECT_EQ(run.result.prompt_tokens, 3);
  EXPECT_THAT(run.steps, ElementsAre(3, 1, 1));
  EXPECT_GT(run.result.prefill_seconds, 0.0);
  EXPECT_GE(run.result.time_to_first_token, run.result.prefill_seconds);
}

TEST(Generate, IgnoresStopTokensWhenTold) {
  ScriptOptions options;
  options.generate.ignore_stop_tokens = true;
  options.generate.max_tokens = 3;
  const Outcome run = RunScript({0}, {1, 5, 2, 2}, options);
  EXPECT_THAT(run.result.tokens, ElementsAre(1, 5, 2));
  EXPECT_EQ(run.result.finish, FinishReason::kLength);
}

TEST(Generate, PrefillsInChunks) {
  ScriptOptions options;
  options.generate.chunk = 4;
  options.generate.max_tokens = 1;
  const Outcome run = RunScript({0, 1, 2, 0, 1, 2, 0, 1, 2, 0}, {1}, options);
  EXPECT_THAT(run.steps, ElementsAre(4, 4, 2));
  EXPECT_THAT(run.prefill, ElementsAre(4, 8, 10));
  EXPECT_EQ(run.result.text, "b");
}

TEST(Generate, NoChunkOfAPromptHasOneToken) {
  ScriptOptions options;
  options.generate.max_tokens = 0;
  options.generate.chunk = 4;
  EXPECT_THAT(RunScript(std::vector<int32_t>(9, 0), {0}, options).steps, ElementsAre(4, 5));
  EXPECT_THAT(RunScript({0}, {0}, options).steps, ElementsAre(1)) << "unless it is all there is";
  options.generate.chunk = 2;
  EXPECT_THAT(RunScript(std::vector<int32_t>(5, 0), {0}, options).steps, ElementsAre(2, 3));
}

TEST(Generate, StopTextAcrossTokensIsNeverShown) {
  ScriptOptions options;
  options.generate.stop = {"bcb"};
  const Outcome run = RunScript({0}, {0, 1, 2, 1, 0}, options);
  EXPECT_EQ(run.result.text, "a");
  EXPECT_THAT(run.texts, ElementsAre("a"));
  EXPECT_EQ(run.result.finish, FinishReason::kStopText);
  EXPECT_THAT(run.result.tokens, ElementsAre(0, 1, 2, 1));
}

TEST(Generate, TextHeldBackAppearsWhenNoStopCame) {
  ScriptOptions options;
  options.generate.stop = {"bcb"};
  const Outcome run = RunScript({0}, {0, 1, 2, 5}, options);
  EXPECT_EQ(run.result.text, "abc");
  EXPECT_THAT(run.texts, ElementsAre("a", "bc"));
  EXPECT_EQ(run.result.finish, FinishReason::kStopToken);
}

TEST(Generate, CharactersAreNeverCut) {
  const Outcome run = RunScript({0}, {0, 3, 4, 1, 5});
  EXPECT_THAT(run.texts, ElementsAre("a", "\xc3\xa9", "b"));
}

TEST(Generate, HalfACharacterAtTheEndIsReplaced) {
  const Outcome run = RunScript({0}, {0, 3, 5});
  EXPECT_EQ(run.result.text, "a\xef\xbf\xbd");
}

TEST(Generate, EndsWhereTheContextIsFull) {
  ScriptOptions options;
  options.capacity = 5;
  const Outcome run = RunScript({0, 1, 2}, {0, 1, 2, 0, 1}, options);
  EXPECT_EQ(run.result.finish, FinishReason::kContext);
  // Two more tokens fit the cache; the one drawn from the last row needs no room.
  EXPECT_THAT(run.result.tokens, ElementsAre(0, 1, 2));
}

TEST(Generate, InterruptionKeepsWhatThereIs) {
  ScriptOptions options;
  int asked = 0;
  options.interrupted = [&] { return ++asked > 3; };  // one chunk, two tokens
  const Outcome run = RunScript({0, 1}, {0, 1, 2, 2}, options);
  EXPECT_EQ(run.result.finish, FinishReason::kInterrupted);
  EXPECT_EQ(run.result.text, "ab");
}

TEST(Generate, InterruptionDuringPrefill) {
  ScriptOptions options;
  options.generate.chunk = 2;
  int asked = 0;
  options.interrupted = [&] { return ++asked > 1; };
  const Outcome run = RunScript({0, 1, 2, 0}, {0}, options);
  EXPECT_EQ(run.result.finish, FinishReason::kInterrupted);
  EXPECT_EQ(run.result.prompt_tokens, 2);
  EXPECT_TRUE(run.result.tokens.empty());
}

TEST(Generate, IdsThatTheTokenizerLacksAreNeverDrawn) {
  ThreadPool pool(1);
  const PieceTokenizer tokenizer = Letters();
  ScriptedModel model(tokenizer.vocab_size() + 3, 1, {tokenizer.vocab_size() + 1, 1});
  CountingCache cache(8);
  ExecutionContext context;
  context.pool = &pool;
  PolicyAttention attention(Policy::Dense(), model.policy_target(), context);
  const GenerateResult result =
      Generate(model, tokenizer, cache, attention, std::vector<int32_t>{0}, {.max_tokens = 2});
  EXPECT_THAT(result.tokens, ElementsAre(0, 1));
}

TEST(Generate, NoTokensAskedForOnlyPrefills) {
  ScriptOptions options;
  options.generate.max_tokens = 0;
  const Outcome run = RunScript({0, 1}, {0}, options);
  EXPECT_TRUE(run.result.tokens.empty());
  EXPECT_EQ(run.result.finish, FinishReason::kLength);
  EXPECT_THAT(run.steps, ElementsAre(2));
}

TEST(Generate, RefusesAPromptLongerThanTheContextWithNumbers) {
  ScriptOptions options;
  options.capacity = 2;
  options.generate.max_tokens = 10;
  try {
    RunScript({0, 1, 2}, {0}, options);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("3 tokens"));
    EXPECT_THAT(error.what(), HasSubstr("room for 2"));
    EXPECT_THAT(error.what(), HasSubstr("--ctx to 13"));
  }
}

TEST(Generate, RefusesBadOptions) {
  EXPECT_THROW(RunScript({}, {0}), Error);
  ScriptOptions negative;
  negative.generate.max_tokens = -1;
  EXPECT_THROW(RunScript({0}, {0}, negative), Error);
  ScriptOptions chunk;
  chunk.generate.chunk = 1;
  EXPECT_THROW(RunScript({0}, {0}, chunk), Error);
}

}  // namespace
}  // namespace tamis
