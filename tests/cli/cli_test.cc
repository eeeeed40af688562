// The program as its users meet it: what it prints, refuses and leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"
#include "cli/tiny_checkpoint.h"

namespace tamis {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunTamis;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

class Cli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (fs::temp_directory_path() / "tamis-cli-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    model_ = Path("tiny.gguf");
    testing::WriteFile(model_, testing::TinyGguf());
  }
  static void TearDownTestSuite() { fs::remove_all(directory_); }

  static std::string Path(const std::string& name) { return (directory_ / name).string(); }

  /// Arguments of a command on the tiny model.
  static Words With(const Words& command, const Words& more) {
    Words all = command;
    all.insert(all.end(), {"--model", model_});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// Stdout as one JSON document of the schema.
  static json Document(const Outcome& outcome) {
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const json document = json::parse(outcome.out, nullptr, false);
    EXPECT_FALSE(document.is_discarded()) << outcome.out;
    EXPECT_EQ(document.value("schema_version", 0), 1);
    return document;
  }
  /// A user error: one line that begins with "error: " and says all of `parts`; nothing on stdout.
  static void ExpectRefused(const Outcome& outcome, const Words& parts) {
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, StartsWith("error: "));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    for (const std::string& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part));
  }
  static size_t Files() {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator{}));
  }

  static fs::path directory_;
  static std::string model_;
};
fs::path Cli::directory_;
std::string Cli::model_;

TEST_F(Cli, HelpAndVersion) {
  for (const Words& words : {Words{"--help"}, Words{"run", "--help"}, Words{"compare", "--help"},
                             Words{"bench", "attention", "--help"},
                             Words{"bench", "model", "--help"}, Words{"tokenize", "--help"},
                             Words{"inspect", "--help"}, Words{"policy", "explain", "--help"}}) {
    const Outcome help = RunTamis(words);
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples:"));
    EXPECT_EQ(help.err, "");
  }
  EXPECT_THAT(RunTamis({"--version"}).out, StartsWith("tamis " TAMIS_VERSION));
}

TEST_F(Cli, ParseErrorsAreOneLine) {
  ExpectRefused(RunTamis({"frob"}), {"unknown command 'frob'", "compare"});
  ExpectRefused(RunTamis({"bench", "frob"}), {"unknown command 'frob'", "attention"});
  ExpectRefused(RunTamis({"run"}), {"--model is required"});
  ExpectRefused(RunTamis(With({"run"}, {"--frob", "1"})), {"--frob"});
  ExpectRefused(RunTamis(With({"run"}, {"--max-tokens", "many"})), {"--max-tokens", "many"});
  ExpectRefused(RunTamis(With({"run"}, {"--threads", "-1"})), {"--threads"});
  ExpectRefused(RunTamis(With({"run"}, {"--prompt", "a", "--prompt-file", "b"})), {"--prompt"});
  EXPECT_EQ(RunTamis({}).status, 2);
}

TEST_F(Cli, RunPrintsTextAndTimings) {
  const Outcome run =
      RunTamis(With({"run"}, {"--prompt", "Hello", "--max-tokens", "8", "--threads", "1"}));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("prompt"));
  EXPECT_THAT(run.err, HasSubstr("tokens/s"));
  EXPECT_THAT(run.err, HasSubstr("KV cache"));
}

TEST_F(Cli, RunJsonHasTheFieldsPromised) {
  const Words options = {"--max-tokens", "8", "--threads", "1", "--json"};
  const json chat = Document(RunTamis(With({"run"}, options), "Hello"));
  EXPECT_TRUE(chat["text"].is_string());
  EXPECT_LE(chat["tokens"].size(), 8u);
  // 26 around the text: <|im_start|>user\n ... <|im_end|>\n<|im_start|>assistant\n, a token a byte.
  EXPECT_EQ(chat["prompt_tokens"], 5 + 6 + 2 + 11);
  EXPECT_EQ(chat["prefill"]["density"], 1.0);
  Words raw = With({"run"}, options);
  raw.insert(raw.end(), {"-", "--raw", "--prompt", "Hello"});
  EXPECT_EQ(Document(RunTamis(raw))["prompt_tokens"], 5);
}

TEST_F(Cli, RunIsTheSameWithAnyChunkPagesAndThreads) {
  const Words base = With(
      {"run"}, {"--raw", "--prompt", "Once upon a time there was", "--json", "--max-tokens", "12"});
  const auto text = [&](const Words& more) {
    Words all = base;
    all.insert(all.end(), more.begin(), more.end());
    return Document(RunTamis(all))["tokens"];
  };
  const json tokens = text({"--threads", "1"});
  EXPECT_EQ(text({"--threads", "2", "--chunk", "5"}), tokens);
  EXPECT_EQ(text({"--page-size", "16"}), tokens);
  EXPECT_EQ(text({"--temperature", "0.9", "--seed", "4"}),
            text({"--temperature", "0.9", "--seed", "4"}));
}

TEST_F(Cli, LaterFlagsWin) {
  const json run = Document(RunTamis(
      With({"run"}, {"--max-tokens", "9", "--prompt", "a", "--json", "--max-tokens", "2"})));
  EXPECT_LE(run["tokens"].size(), 2u);
}

TEST_F(Cli, JsonFileComesBesideTheText) {
  const Outcome run = RunTamis(With({"run"}, {"--prompt", "a", "--max-tokens", "2", "--json",
                                              Path("run.json"), "--policy", "streaming"}));
  EXPECT_EQ(run.status, 0) << run.err;
  std::ifstream file(Path("run.json"));
  EXPECT_EQ(json::parse(file)["policy"], "streaming");
}

TEST_F(Cli, FullDisksAreRefused) {
  const size_t files = Files();
  const Outcome run =
      RunTamis(With({"run"}, {"--prompt", "a", "--max-tokens", "1", "--json", "/dev/full"}));
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, HasSubstr("error: cannot write /dev/full: No space left"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  const Outcome into =
      testing::RunTamisInto("/dev/full", With({"tokenize"}, {"--text", "abc", "--json"}));
  EXPECT_EQ(into.status, 2);
  EXPECT_THAT(into.err, HasSubstr("error: cannot write to stdout"));
  const Outcome text = testing::RunTamisInto("/dev/full", {"policy", "list"});
  EXPECT_EQ(text.status, 2);
  EXPECT_THAT(text.err, HasSubstr("error: cannot write to stdout"));
  EXPECT_EQ(Files(), files);
}

TEST_F(Cli, JsonInAMissingDirectoryIsRefusedBeforeTheModelLoads) {
  ExpectRefused(RunTamis({"run", "--model", "/no/model", "--prompt", "a", "--json",
                          Path("no/such/dir/a.json")}),
                {"no/such/dir/a.json", "No such file"});
}

TEST_F(Cli, BadFilesAreRefused) {
  ExpectRefused(RunTamis({"run", "--model", Path("none.gguf"), "--prompt", "a"}), {"none.gguf"});
  std::vector<uint8_t> bytes = testing::TinyGguf();
  bytes.resize(bytes.size() / 2);
  testing::WriteFile(Path("cut.gguf"), bytes);
  for (const char* command : {"run", "inspect"}) {
    Words words = {command, "--model", Path("cut.gguf")};
    if (command == std::string("run")) words.insert(words.end(), {"--prompt", "a"});
    ExpectRefused(RunTamis(words), {"cut.gguf"});
  }
  testing::GgufBuilder other;
  other.String("general.architecture", "mamba");
  testing::WriteFile(Path("mamba.gguf"), other.Build());
  ExpectRefused(RunTamis({"inspect", "--model", Path("mamba.gguf")}), {"mamba"});
  ExpectRefused(RunTamis(With({"run"}, {"--prompt-file", Path("none.txt")})), {"none.txt"});
}

TEST_F(Cli, ATokenizerOfAnotherModelIsRefused) {
  testing::WriteFile(Path("other.gguf"), testing::TinyGguf(200));
  ExpectRefused(RunTamis({"run", "--model", Path("other.gguf"), "--prompt", "a"}), {"258", "200"});
}

TEST_F(Cli, PromptsThatDoNotFitAreRefusedWithNumbers) {
  const std::string long_prompt(300, 'x');
  ExpectRefused(RunTamis(With({"run"}, {"--raw", "--prompt", long_prompt})),
                {"300 tokens", "256", "--ctx 556"});
  ExpectRefused(RunTamis(With({"run"}, {"--raw", "--prompt", "0123456789", "--ctx", "8"})),
                {"10 tokens", "--ctx is 8", "--ctx to 266"});
  ExpectRefused(RunTamis(With({"compare"}, {"--raw", "--prompt", std::string(250, 'x'), "--policy",
                                            "streaming", "--max-tokens", "20"})),
                {"250 tokens", "20 more", "256"});
  ExpectRefused(RunTamis(With({"run"}, {"--raw"}), ""), {"prompt is empty"});
  ExpectRefused(RunTamis(With({"run"}, {"--raw", "--prompt", "short", "--prompt-tokens", "100"})),
                {"--prompt-tokens 100", "only 5 tokens"});
}

TEST_F(Cli, BadPoliciesAreRefused) {
  const auto run = [](const Words& more) {
    Words words = With({"run"}, {"--prompt", "a"});
    words.insert(words.end(), more.begin(), more.end());
    return RunTamis(words);
  };
  ExpectRefused(run({"--policy", "xatention"}), {"xatention", "xattention"});
  ExpectRefused(run({"--policy", R"({"frob": 1})"}), {"frob"});
  ExpectRefused(run({"--policy", R"({"default": )"}), {});
  ExpectRefused(run({"--policy", "xattention", "--set", "frob"}), {"frob", "key=value"});
  ExpectRefused(run({"--policy", "xattention", "--set", "prefill.selector.threshold=3"}),
                {"threshold", "3"});
  ExpectRefused(run({"--temperature", "-1"}), {"temperature -1"});
  ExpectRefused(run({"--isa", "mmx"}), {"mmx", "avx2"});
  ExpectRefused(run({"--dtype", "f64"}), {"f64"});
  ExpectRefused(run({"--dtype", "f16"}), {"f16"});
}

TEST_F(Cli, CompareReportsEveryPolicy) {
  const Words options = {"--raw",
                         "--prompt",
                         std::string(120, 'a') + "bcd",
                         "--max-tokens",
                         "4",
                         "--policy",
                         "streaming",
                         "n-of-m-2-4,prefill.n_of_m.recent_tokens=0",
                         "--policy",
                         "dense"};
  Words with_json = With({"compare"}, options);
  with_json.emplace_back("--json");
  const json document = Document(RunTamis(with_json));
  ASSERT_EQ(document["rows"].size(), 3u);
  EXPECT_EQ(document["prompt_tokens"], 123);
  EXPECT_EQ(document["rows"][0]["policy"], "dense");
  EXPECT_EQ(document["rows"][2]["policy"], "n-of-m-2-4 recent_tokens=0");
  EXPECT_GT(document["rows"][2]["prompt_quality"]["kl_mean"], 0.0);
  EXPECT_LT(document["rows"][2]["prefill"]["kept_share"], 0.6);

  const Outcome human = RunTamis(With({"compare"}, options));
  EXPECT_EQ(human.status, 0) << human.err;
  for (const char* part : {"dense says:", "Time and memory", "Attention computed",
                           "Quality against dense", "streaming"}) {
    EXPECT_THAT(human.out, HasSubstr(part));
  }
  EXPECT_EQ(human.err, "") << "no progress where stderr is no terminal";
}

TEST_F(Cli, BenchAttentionRowsHaveDenseAndRatios) {
  const json document = Document(RunTamis(
      {"bench", "attention", "--q-heads", "4", "--kv-heads", "2", "--head-dim", "64", "--length",
       "256", "512", "--policy", "streaming", "--density", ".5", "--repeats", "2", "--json"}));
  ASSERT_EQ(document["rows"].size(), 6u);
  const json& lists = document["rows"][5];
  EXPECT_EQ(lists["length"], 512);
  EXPECT_EQ(document["rows"][0]["policy"], "dense");
  EXPECT_EQ(document["rows"][0]["ratio_to_dense"], 1.0);
  EXPECT_EQ(document["rows"][0]["density"], 1.0);
  // Lists of 1, 1, 2 and 2 blocks, the last of each half full: (0.5 + 0.5 + 1.5 + 1.5) of 8.
  EXPECT_NEAR(lists["density"], 0.5, 0.01);
  for (const char* field : {"milliseconds", "gflops", "spread", "peak_share"}) {
    EXPECT_TRUE(lists[field].is_number()) << field;
  }
  EXPECT_GT(document["peak_gflops"], 0.0);
}

TEST_F(Cli, BenchAttentionRefusesWhatItCannotRun) {
  ExpectRefused(RunTamis({"bench", "attention", "--device", "cuda"}), {"cuda", "cpu"});
  ExpectRefused(RunTamis({"bench", "attention", "--kv-heads", "3"}), {"--kv-heads 3"});
  ExpectRefused(RunTamis({"bench", "attention", "--head-dim", "60"}), {"--head-dim 60"});
  ExpectRefused(RunTamis({"bench", "attention", "--inputs", "zeros"}), {"zeros", "structured"});
  ExpectRefused(RunTamis({"bench", "attention", "--length", "4000000", "--q-heads", "1024",
                          "--kv-heads", "1024", "--head-dim", "256"}),
                {"--length"});
}

TEST_F(Cli, BenchModelRowsHaveRates) {
  const json document = Document(
      RunTamis(With({"bench", "model"}, {"--prompt-tokens", "64", "100", "--generate-tokens", "3",
                                         "--policy", "streaming", "--rounds", "2", "--json"})));
  ASSERT_EQ(document["rows"].size(), 4u);
  EXPECT_EQ(document["rows"][0]["policy"], "dense");
  EXPECT_EQ(document["rows"][3]["prompt_tokens"], 100);
  EXPECT_GT(document["rows"][3]["prefill_tokens_per_s"], 0.0);
  EXPECT_GT(document["rows"][3]["decode_tokens_per_s"], 0.0);
  EXPECT_EQ(document["rows"][2]["prefill_speedup"], 1.0);
}

TEST_F(Cli, InspectSummarises) {
  const json document = Document(RunTamis(With({"inspect"}, {"--tensors", "--json"})));
  EXPECT_EQ(document["architecture"], "llama");
  EXPECT_EQ(document["layers"], 2);
  EXPECT_EQ(document["vocab"], 258);
  EXPECT_EQ(document["kv_bytes"]["f32"], 2 * 2 * 2 * 16 * 256 * 4);
  EXPECT_FALSE(document["tensors"].empty());
  EXPECT_THAT(RunTamis(With({"inspect"}, {})).out, HasSubstr("2 KV heads"));
}

TEST_F(Cli, TokenizeGoesBothWays) {
  EXPECT_EQ(Document(RunTamis(With({"tokenize"}, {"--text", "ab<|im_end|>", "--json"})))["ids"],
            (std::vector<int>{97, 98, 257}));
  EXPECT_EQ(
      Document(RunTamis(With({"tokenize"}, {"--json", "--plain"}), "a<|im_end|>"))["ids"].size(),
      11u);
  EXPECT_EQ(RunTamis(With({"tokenize"}, {"--decode", "97", "98"})).out, "ab\n");
  ExpectRefused(RunTamis(With({"tokenize"}, {"--decode", "9999"})), {"9999"});
  const Outcome plain = RunTamis(With({"tokenize"}, {"--text", "ab"}));
  EXPECT_EQ(plain.out, "97 98\n");
}

TEST_F(Cli, PolicyCommands) {
  const json list = Document(RunTamis({"policy", "list", "--json"}));
  EXPECT_EQ(list["presets"][0]["name"], "dense");
  const json explained = Document(
      RunTamis({"policy", "explain", "--policy", "xattention", "--layers", "3", "--json"}));
  EXPECT_THAT(explained["explanation"].get<std::string>(), HasSubstr("xattention"));
  EXPECT_EQ(explained["layers"], 3);
  EXPECT_EQ(RunTamis(With({"policy", "explain"}, {"--policy", "streaming"})).status, 0);
  ExpectRefused(RunTamis({"policy", "explain", "--policy", "dense", "--kv-heads", "5"}),
                {"--kv-heads 5"});
}

TEST_F(Cli, FirstInterruptEndsTheGenerationAndPrintsTimings) {
  const Outcome run = testing::InterruptTamis(
      With({"run"}, {"--raw", "--prompt", "abc", "--max-tokens", "200000", "--ctx", "200100"}));
  EXPECT_EQ(run.status, 130) << run.err;
  EXPECT_THAT(run.err, HasSubstr("ended: interrupted"));
  EXPECT_THAT(run.err, HasSubstr("tokens/s"));
}

}  // namespace
}  // namespace tamis
