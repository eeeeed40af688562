#include <thread>

#include "model/tokenizer/test_tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

using testing::Build;
using ::testing::ElementsAre;
using testing::ExpectError;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SmallMetadata;
using testing::SmallTokenizerJson;
using Ids = std::vector<int32_t>;

TEST(Tokenizer, EncodesAndDecodes) {
  const auto tokenizer = Build(SmallTokenizerJson());
  EXPECT_THAT(tokenizer->Encode("hello w"), ElementsAre(259, 260));
  EXPECT_THAT(tokenizer->Encode("<s>hell</s>"), ElementsAre(261, 258, 262));
  EXPECT_THAT(tokenizer->Encode("<s>", /*parse_special=*/false), ElementsAre('<', 's', '>'));
  EXPECT_THAT(tokenizer->Encode(""), IsEmpty());
  EXPECT_THAT(tokenizer->Encode("\xC3"), ElementsAre(0xEF, 0xBF, 0xBD));
  const Ids ids = {261, 259, 260, 0xC3, 262};
  EXPECT_EQ(tokenizer->Decode(ids), "hello w\xC3");
  EXPECT_EQ(tokenizer->Decode(ids, /*keep_special=*/true), "<s>hello w\xC3</s>");
  EXPECT_EQ(tokenizer->vocab_size(), 263);
  EXPECT_EQ(tokenizer->TokenText(260), "\u0120w");
  EXPECT_THAT(tokenizer->Summary(), HasSubstr("263 tokens, 5 merges, 2 added tokens"));
  for (const int32_t id : {-1, 263, INT32_MAX, INT32_MIN}) {
    ExpectError([&] { tokenizer->Decode(Ids{id}); }, "outside the vocabulary, 0 to 262");
    ExpectError([&] { tokenizer->TokenText(id); }, std::to_string(id));
  }
}

TEST(Tokenizer, DecodesEveryByteSequence) {
  const auto tokenizer = Build(SmallTokenizerJson());
  std::string text;
  for (int i = 0; i < 1 << 12; ++i) text.push_back(static_cast<char>((i * 2654435761u) >> 13));
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  EXPECT_EQ(tokenizer->Decode(ids), text);
}

TEST(Tokenizer, StreamsWholeCharacters) {
  const auto tokenizer = Build(SmallTokenizerJson());
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(stream.Push(259), "hello");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Push(0x9F), "");
  EXPECT_EQ(stream.Push(0x98), "");
  EXPECT_EQ(stream.Push(0x80), "\U0001F600");
  EXPECT_EQ(stream.Push(261), "") << "special tokens are left out";
  EXPECT_EQ(stream.Push(0xE3), "");
  EXPECT_EQ(stream.Push('x'), "\uFFFDx");
  EXPECT_EQ(stream.Push(0x80), "\uFFFD") << "no character starts so";
  EXPECT_EQ(stream.Push(0xE3), "");
  EXPECT_EQ(stream.Push(0x81), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD") << "one maximal subpart";
  EXPECT_EQ(stream.Finish(), "");
}

TEST(Tokenizer, StreamingEqualsDecodingAtOnce) {
  const auto tokenizer = Build(SmallTokenizerJson());
  uint32_t state = 1;
  for (int trial = 0; trial < 200; ++trial) {
    Ids ids;
    for (int i = 0; i < 50; ++i) {
      state = state * 1664525 + 1013904223;
      // Bytes that begin or continue characters, mostly.
      ids.push_back(static_cast<int32_t>((state >> 24) % 8 == 0 ? state >> 25 : 128 | state >> 25));
    }
    StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.Push(id);
    streamed += stream.Finish();
    std::string whole;
    AppendRepaired(tokenizer->Decode(ids), whole);
    ASSERT_EQ(streamed, whole);
  }
}

TEST(Tokenizer, AddedTokensTakeTheirFlags) {
  nlohmann::json json = SmallTokenizerJson();
  int id = 263;
  const auto add = [&](const char* content, nlohmann::json flags) {
    flags["id"] = id;
    flags["content"] = content;
    json["added_tokens"].push_back(flags);
    return id++;
  };
  const int word = add("word", {{"single_word", true}});
  const int left = add("<l>", {{"lstrip", true}});
  const int right = add("<r>", {{"rstrip", true}});
  const int longer = add("<s>>", {{"normalized", false}});
  const auto tokenizer = Build(json);
  EXPECT_THAT(tokenizer->Encode("word"), ElementsAre(word));
  EXPECT_THAT(tokenizer->Encode("(word)"), ElementsAre('(', word, ')'));
  EXPECT_THAT(tokenizer->Encode("word1"), ElementsAre('w', 'o', 'r', 'd', '1'));
  EXPECT_EQ(tokenizer->Encode("\u00e9word").size(), 6u);
  EXPECT_THAT(tokenizer->Encode("a \n<l> b"), ElementsAre('a', left, ' ', 'b'));
  EXPECT_THAT(tokenizer->Encode("a <r> \u3000b"), ElementsAre('a', ' ', right, 'b'));
  EXPECT_THAT(tokenizer->Encode("<r>  <l>"), ElementsAre(right, left));
  EXPECT_THAT(tokenizer->Encode("<s>>"), ElementsAre(longer));
  EXPECT_THAT(tokenizer->Encode("<s>"), ElementsAre(261));
  // A special token read as text hides no other from the search behind it.
  EXPECT_THAT(tokenizer->Encode("<s><l>", false), ElementsAre('<', 's', '>', left));
}

TEST(Tokenizer, NormalizedTokensMatchNormalizedText) {
  nlohmann::json json = SmallTokenizerJson();
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"].push_back({{"id", 263}, {"content", "e\u0301"}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 264}, {"content", "u\u0301"}, {"normalized", false}});
  const auto tokenizer = Build(json);
  EXPECT_THAT(tokenizer->Encode("\u00e9e\u0301"), ElementsAre(263, 263));
  EXPECT_THAT(tokenizer->Encode("u\u0301\u00fa"), ElementsAre(264, 0xC3, 0xBA));
}

TEST(Tokenizer, PrefixAndStops) {
  nlohmann::json json = SmallTokenizerJson();
  json["added_tokens"].push_back({{"id", 263}, {"content", "<|im_end|>"}, {"special", true}});
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
      {"special_tokens", {{"<s>", {{"ids", {261}}}}}}};
  TokenizerParts parts = ParseTokenizerJson(json.dump(), "tokenizer.json");
  ReadTokenizerConfig({{"bos_token", {{"content", "<s>"}}}, {"eos_token", "</s>"}}, parts);
  ReadGenerationConfig({{"eos_token_id", {263, 262}}}, parts);
  parts.AddTurnEnds();
  const auto tokenizer = MakeTokenizer(std::move(parts));
  EXPECT_THAT(tokenizer->Encode("hello"), ElementsAre(261, 259));
  EXPECT_THAT(tokenizer->Encode("hello", true, /*add_bos=*/false), ElementsAre(259));
  EXPECT_EQ(tokenizer->bos_id(), 261);
  EXPECT_THAT(tokenizer->stop_ids(), ElementsAre(262, 263));
}

TEST(Tokenizer, FromMetadata) {
  TokenizerMetadata metadata = SmallMetadata("smollm");
  metadata.add_bos = true;
  metadata.chat_template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
      "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{{ '<|im_start|>assistant\n' }}";
  const auto tokenizer = Tokenizer::FromMetadata(metadata);
  EXPECT_THAT(tokenizer->Encode("hello w12</s>"), ElementsAre(261, 259, 260, '1', '2', 262));
  EXPECT_THAT(tokenizer->stop_ids(), ElementsAre(262));
  EXPECT_TRUE(tokenizer->has_chat_template());
  EXPECT_EQ(tokenizer->RenderChat(std::vector<ChatMessage>{{"user", "Hi"}}),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  // A digit stays with its neighbours, or with a space before it, in other families.
  EXPECT_EQ(Tokenizer::FromMetadata(SmallMetadata("gpt-2"))->Encode(" w").size(), 1u);
  EXPECT_TRUE(Tokenizer::FromMetadata(SmallMetadata("llama-bpe"))->stop_ids().size() == 1);
  EXPECT_EQ(Tokenizer::FromMetadata(SmallMetadata("qwen2"))->Encode("e\u0301").size(), 2u);
}

TEST(Tokenizer, RefusesMetadataThatIsWrong) {
  const auto refuse = [](void (*damage)(TokenizerMetadata&), const char* what) {
    TokenizerMetadata metadata = SmallMetadata("smollm");
    damage(metadata);
    ExpectError([&] { Tokenizer::FromMetadata(metadata); }, what);
  };
  refuse([](auto& m) { m.model = "llama"; }, "tokenizer.ggml.model 'llama'");
  refuse([](auto& m) { m.pre = "bloom"; }, "'bloom' is not run (run are smollm, ");
  refuse([](auto& m) { m.pre = ""; }, "tokenizer.ggml.pre ''");
  refuse([](auto& m) { m.pre = "default"; }, "tokenizer.ggml.pre 'default'");
  refuse([](auto& m) { m.tokens.clear(); }, "holds 0 tokens");
  refuse([](auto& m) { m.token_types.pop_back(); }, "262 entries for 263 tokens");
  refuse([](auto& m) { m.tokens[7] = m.tokens[8]; }, "twice");
  refuse([](auto& m) { m.tokens[7] = "\xFF"; }, "token 7 of tokenizer.ggml.tokens is not UTF-8");
  refuse([](auto& m) { m.tokens[7] = ""; }, "token 7 is empty");
  refuse([](auto& m) { m.merges[0] = "h\ne"; }, "merge 0 ('h\\ne') is not two tokens");
  refuse([](auto& m) { m.merges[0] = "h zz"; }, "not in the vocabulary");
  refuse([](auto& m) { m.eos_id = 263; }, "tokenizer.ggml.eos_token_id is 263");
  refuse([](auto& m) { m.bos_id = INT32_MAX; }, "tokenizer.ggml.bos_token_id is 2147483647");
  refuse([](auto& m) { m.bos_id = -1, m.add_bos = true; }, "tokenizer.ggml.bos_token_id is not");
}

TEST(Tokenizer, ChatNeedsAKnownTemplate) {
  const std::vector<ChatMessage> messages = {{"user", "Hi"}};
  TokenizerMetadata metadata = SmallMetadata("smollm");
  auto tokenizer = Tokenizer::FromMetadata(metadata);
  EXPECT_FALSE(tokenizer->has_chat_template());
  ExpectError([&] { tokenizer->RenderChat(messages); }, "no chat template; ");
  metadata.chat_template = "{{ messages[0].content }}";
  tokenizer = Tokenizer::FromMetadata(metadata);
  EXPECT_FALSE(tokenizer->has_chat_template());
  ExpectError([&] { tokenizer->RenderChat(messages); }, "--raw");
}

TEST(Tokenizer, ThreadsShareIt) {
  const auto tokenizer = Build(SmallTokenizerJson());
  std::string text;
  for (int i = 0; i < 300; ++i) text += "hello world " + std::to_string(i);
  const Ids expected = tokenizer->Encode(text);
  std::vector<std::thread> threads;
  std::vector<int> same(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) same[t] += tokenizer->Encode(text) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(same, ElementsAre(20, 20, 20, 20));
}

}  // namespace
}  // namespace tamis
