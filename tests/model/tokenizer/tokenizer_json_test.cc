// tokenizer.json that is damaged, hostile or of a kind that is not run.
#include "model/tokenizer/tokenizer_json.h"

#include <filesystem>
#include <fstream>

#include "model/tokenizer/test_tokenizer.h"

namespace tamis {
namespace {

using testing::Build;
using testing::ExpectError;
using testing::SmallTokenizerJson;

/// Sets what a JSON pointer names and expects the document to be refused.
void Refuse(const char* pointer, const nlohmann::json& value, const std::string& what) {
  nlohmann::json json = SmallTokenizerJson();
  json[nlohmann::json::json_pointer(pointer)] = value;
  SCOPED_TRACE(pointer);
  ExpectError([&] { Build(json); }, what);
}

TEST(TokenizerJson, RefusesOtherKindsByName) {
  for (const char* kind : {"Unigram", "WordPiece", "WordLevel"}) {
    Refuse("/model/type", kind, kind);
  }
  Refuse("/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer 'Metaspace' is not run");
  Refuse("/pre_tokenizer", nullptr, "no pre_tokenizer");
  Refuse("/pre_tokenizer", {{"type", "Digits"}}, "does not end in ByteLevel");
  Refuse("/pre_tokenizer",
         {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}},
         "steps after ByteLevel");
  Refuse("/pre_tokenizer",
         {{"type", "Sequence"}, {"pretokenizers", nlohmann::json(100, {{"type", "Digits"}})}},
         "more than 16 steps");
  Refuse("/normalizer", {{"type", "Lowercase"}}, "normalizer 'Lowercase' is not run");
  Refuse("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}}, "'NFKC'");
  Refuse("/decoder", {{"type", "Metaspace"}}, "decoder 'Metaspace' is not run");
  Refuse("/decoder", nullptr, "decoder is null");
  Refuse("/post_processor", {{"type", "BertProcessing"}}, "'BertProcessing' is not run");
  Refuse("/model/byte_fallback", true, "byte_fallback");
  Refuse("/model/dropout", 0.1, "model.dropout 0.1");
  Refuse("/model/continuing_subword_prefix", "##", "continuing_subword_prefix \"##\"");
  Refuse("/model/end_of_word_suffix", "</w>", "end_of_word_suffix \"</w>\"");
}

TEST(TokenizerJson, RefusesSplitsItCannotRun) {
  const auto split = [](nlohmann::json pattern, const char* behavior) {
    return nlohmann::json{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}};
  };
  Refuse("/pre_tokenizer", split({{"Regex", "\\w"}}, "Isolated"), "uses '\\w'");
  Refuse("/pre_tokenizer", split({{"Regex", "(a"}}, "Isolated"), "does not compile");
  Refuse("/pre_tokenizer", split({{"Regex", "a"}}, "Sideways"), "behavior 'Sideways'");
  Refuse("/pre_tokenizer", split({{"String", ""}}, "Isolated"), "String is empty");
  Refuse("/pre_tokenizer", split({{"Regex", 7}}, "Isolated"), "not a string");
  Refuse("/pre_tokenizer", split("a", "Isolated"), "pre_tokenizer.pattern is string");
}

TEST(TokenizerJson, RefusesWrongTypesAndIds) {
  Refuse("/model", nullptr, "model is null, not an object");
  Refuse("/model", 1.5, "model is number");
  Refuse("/model/vocab", {1, 2}, "model.vocab is array");
  Refuse("/model/vocab", nlohmann::json::object(), "model.vocab is empty");
  Refuse("/model/vocab/he", "x", "not an integer");
  Refuse("/model/vocab/he", 1.0, "not an integer");
  Refuse("/model/vocab/he", -1, "is -1; ids run from 0 to 4194303");
  Refuse("/model/vocab/he", 4194304, "is 4194304");
  Refuse("/model/vocab/he", UINT64_MAX, "is 18446744073709551615");
  Refuse("/model/vocab/he", 65, "share the id 65");
  Refuse("/model/merges", "h e", "model.merges is string");
  Refuse("/model/merges/0", 3, "entry 0 is neither");
  Refuse("/model/merges/0", {"h", "e", "l"}, "entry 0 is neither");
  Refuse("/model/merges/0", "he", "not two tokens");
  Refuse("/model/merges/0", "q q", "merge 0 ('q' and 'q') names a token");
  Refuse("/model/ignore_merges", "yes", "ignore_merges is string");
  Refuse("/model/unk_token", "nowhere", "model.unk_token 'nowhere'");
  Refuse("/added_tokens", {{"id", 1}}, "added_tokens is object");
  Refuse("/added_tokens/0", 5, "added_tokens is number");
  Refuse("/added_tokens/0/id", 65, "share the id 65");
  Refuse("/added_tokens/0/id", 1e3, "not an integer");
  Refuse("/added_tokens/0/content", "", "is empty");
  Refuse("/added_tokens/0/content", "</s>", "'</s>' is listed twice");
  Refuse("/added_tokens/0/content", "he", "'he' has id 261, but 256");
  Refuse("/added_tokens/0/content", std::string(2000, 'x'), "holds 2000 bytes");
  Refuse("/added_tokens/0/special", 1, "special is number");
}

TEST(TokenizerJson, RefusesTemplatesThatDoMoreThanPrefix) {
  const auto templated = [](nlohmann::json single) {
    return nlohmann::json{
        {"type", "TemplateProcessing"},
        {"single", single},
        {"special_tokens", {{"<s>", {{"ids", {261}}}}, {"<t>", {{"ids", {9999}}}}}}};
  };
  const nlohmann::json text = {{"Sequence", {{"id", "A"}}}};
  const nlohmann::json token = {{"SpecialToken", {{"id", "<s>"}}}};
  Refuse("/post_processor", templated({text, token}), "'<s>' behind the text");
  Refuse("/post_processor", templated({text, text}), "repeats the text");
  Refuse("/post_processor", templated({token}), "does not contain the text");
  Refuse("/post_processor", templated({{{"SpecialToken", {{"id", "<t>"}}}}, text}),
         "is 9999, which names no token");
  Refuse("/post_processor", templated({{{"SpecialToken", {{"id", "<u>"}}}}, text}), "is null");
}

TEST(TokenizerJson, RefusesEveryTruncation) {
  const std::string text = SmallTokenizerJson().dump();
  for (size_t size = 0; size < text.size(); size += size < 64 ? 1 : 97) {
    ExpectError([&] { ParseTokenizerJson(text.substr(0, size), "tokenizer.json"); },
                "tokenizer.json is not JSON");
  }
  ExpectError([] { ParseTokenizerJson(std::string(1 << 20, '['), "x"); }, "more than 32 deep");
  ExpectError([] { ParseTokenizerJson("{\"a\":1e999}", "x"); }, "out of range");
  ExpectError([] { ParseTokenizerJson("{\"a\":\"\xFF\"}", "x"); }, "x is not JSON");
  ExpectError([] { ParseTokenizerJson("[]", "x"); }, "x is array, not an object");
  ExpectError([] { ParseTokenizerJson("{}", "x"); }, "model is null");
}

TEST(TokenizerJson, HolesInTheVocabularyDecodeToNothing) {
  nlohmann::json json = SmallTokenizerJson();
  json["added_tokens"].push_back({{"id", 300}, {"content", "<far>"}});
  const auto tokenizer = Build(json);
  EXPECT_EQ(tokenizer->vocab_size(), 301);
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{'a', 290, 300}), "a<far>");
  EXPECT_EQ(tokenizer->TokenText(290), "");
}

TEST(TokenizerJson, ReadsBothSpellingsOfMerges) {
  nlohmann::json json = SmallTokenizerJson();
  const auto expected = Build(json)->Encode("hello w hell");
  for (auto& merge : json["model"]["merges"]) {
    const std::string line = merge;
    merge = {line.substr(0, line.find(' ')), line.substr(line.find(' ') + 1)};
  }
  EXPECT_EQ(Build(json)->Encode("hello w hell"), expected);
}

class TokenizerFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    directory_ = std::filesystem::path(::testing::TempDir()) / ("tamis_tokenizer_" + name);
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Write(const char* name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }
  std::unique_ptr<Tokenizer> Open() { return Tokenizer::FromFile(directory_.string()); }

  std::filesystem::path directory_;
};

TEST_F(TokenizerFile, ReadsWhatLiesBeside) {
  Write("tokenizer.json", SmallTokenizerJson().dump());
  EXPECT_FALSE(Open()->has_chat_template());
  EXPECT_EQ(Open()->bos_id(), -1);
  const std::string chatml =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{{ '<|im_start|>assistant\\n' }}";
  Write("tokenizer_config.json", nlohmann::json{{"bos_token", "<s>"},
                                                {"eos_token", nullptr},
                                                {"chat_template",
                                                 {{{"name", "rag"}, {"template", "other"}},
                                                  {{"name", "default"}, {"template", chatml}}}}}
                                     .dump());
  Write("generation_config.json", R"({"eos_token_id": 262})");
  for (const std::string& path : {directory_.string(), (directory_ / "tokenizer.json").string()}) {
    const auto tokenizer = Tokenizer::FromFile(path);
    EXPECT_TRUE(tokenizer->has_chat_template());
    EXPECT_EQ(tokenizer->bos_id(), 261);
    EXPECT_THAT(tokenizer->stop_ids(), ::testing::ElementsAre(262));
  }
  Write("chat_template.jinja", "other");
  EXPECT_FALSE(Open()->has_chat_template()) << "the newer place wins";
}

TEST_F(TokenizerFile, NamesWhatIsMissingOrWrong) {
  ExpectError([&] { Open(); }, "tokenizer.json");
  Write("tokenizer.model", "");
  ExpectError([&] { Open(); }, "has tokenizer.model but no tokenizer.json; save it with");
  Write("tokenizer.json", SmallTokenizerJson().dump());
  Write("tokenizer_config.json", R"({"eos_token": "<nowhere>"})");
  ExpectError([&] { Open(); }, "eos_token '<nowhere>' is not in the vocabulary");
  Write("tokenizer_config.json", R"({"eos_token": 3})");
  ExpectError([&] { Open(); }, "tokenizer_config.json is number");
  Write("tokenizer_config.json", R"({"chat_template": 3})");
  ExpectError([&] { Open(); }, "chat_template is number");
  Write("tokenizer_config.json", "{");
  ExpectError([&] { Open(); }, "tokenizer_config.json is not JSON");
  Write("tokenizer_config.json", "{}");
  for (const char* id : {"263", "-1", "\"x\"", "[1.5]", "[[1]]"}) {
    Write("generation_config.json", std::string(R"({"eos_token_id": )") + id + "}");
    ExpectError([&] { Open(); }, "generation_config.json: eos_token_id");
  }
}

}  // namespace
}  // namespace tamis
