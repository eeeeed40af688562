// Parsing: the format, its errors, overrides and the round trip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "policy/document.h"
#include "policy_testing.h"

namespace tamis::policy {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kFull = R"({
  "schema_version": 1,
  "name": "mixed",
  "backend": "cpu",
  "default": {
    "prefill": {"selector": {"type": "xattention", "stride": 8, "threshold": 0.85},
                "skip_softmax": {"scale_factor": 100, "max_lambda": 0.25},
                "n_of_m": {"n": 1, "m": 2, "sink_tokens": 4, "recent_tokens": 32,
                           "skip_diagonal_blocks": true}},
    "decode": {"skip_softmax": {"threshold": 0.001, "geometry": {"br": 1, "bc": 128}}}
  },
  "entries": [
    {"match": ["*.layers.[0-1].*", "*.layers.5.*"], "heads": [0, "2-4"],
     "when": {"min_tokens": 4096, "max_tokens": 65536}, "prefill": {}},
    {"match": "*.layers.2.*", "decode": {"n_of_m": {"n": 2, "m": 4}}}
  ]
})";

TEST(PolicyParse, ReadsEveryKey) {
  const Policy policy = Policy::Parse(kFull);
  const Policy::Document& d = policy.document();
  EXPECT_EQ(policy.name(), "mixed");
  EXPECT_FALSE(policy.IsDense());
  EXPECT_EQ(d.backend, Backend::kCpu);
  ASSERT_TRUE(d.prefill.selector);
  EXPECT_EQ(d.prefill.selector->type, "xattention");
  EXPECT_EQ(d.prefill.selector->values.at("stride"), std::vector<double>{8});
  EXPECT_EQ(d.prefill.selector->values.at("threshold"), std::vector<double>{0.85});
  EXPECT_EQ(d.prefill.skip_softmax->scale_factor, 100.0);
  EXPECT_EQ(d.prefill.skip_softmax->max_lambda, 0.25);
  EXPECT_EQ(d.prefill.skip_softmax->geometry, TileGeometry{});
  EXPECT_EQ(d.prefill.n_of_m, (NOfMSpec{1, 2, 4, 32, true}));
  EXPECT_EQ(d.decode.skip_softmax->threshold, 0.001);
  EXPECT_EQ(d.decode.skip_softmax->geometry, (TileGeometry{1, 128, SkipVote::kGqaGroup, 1}));
  ASSERT_EQ(d.entries.size(), 2u);
  EXPECT_THAT(d.entries[0].match, ::testing::ElementsAre("*.layers.[0-1].*", "*.layers.5.*"));
  EXPECT_THAT(d.entries[0].heads, ::testing::ElementsAre(0, 2, 3, 4));
  EXPECT_EQ(d.entries[0].min_tokens, 4096);
  EXPECT_EQ(d.entries[0].max_tokens, 65536);
  ASSERT_TRUE(d.entries[0].prefill);
  EXPECT_TRUE(d.entries[0].prefill->IsDense());
  EXPECT_FALSE(d.entries[0].decode);
  EXPECT_FALSE(d.entries[1].prefill);
  EXPECT_EQ(d.entries[1].decode->n_of_m, (NOfMSpec{2, 4, 0, 0, false}));
}

TEST(PolicyParse, CanonicalJsonReadsBackToItself) {
  for (std::string_view spec :
       {kFull, std::string_view("dense"), std::string_view("skip-softmax"),
        std::string_view("n-of-m-2-4"), std::string_view("xattention"),
        std::string_view("streaming"), std::string_view("SKIP_SOFTMAX_DEFAULT"),
        std::string_view("SPARSE24_TRITON")}) {
    const std::string json = Policy::Parse(spec).ToJson();
    EXPECT_EQ(Policy::Parse(json).ToJson(), json) << spec;
    EXPECT_THAT(json, HasSubstr("\"schema_version\": 1"));
  }
}

TEST(PolicyParse, CanonicalJsonKeepsPerHeadLists) {
  const std::string json = Policy::Parse(R"({"default": {"prefill": {"selector":
          {"type": "xattention", "threshold": [0.5, 1, 0.75]}}}})")
                               .ToJson();
  const Policy again = Policy::Parse(json);
  EXPECT_EQ(again.document().prefill.selector->values.at("threshold"),
            (std::vector<double>{0.5, 1, 0.75}));
  EXPECT_EQ(again.ToJson(), json);
}

TEST(PolicyParse, DenseIsDense) {
  EXPECT_TRUE(Policy::Dense().IsDense());
  EXPECT_EQ(Policy::Dense().name(), "dense");
  EXPECT_EQ(Policy::Dense().ToJson(), Policy::Parse("dense").ToJson());
  EXPECT_TRUE(Policy::Parse("{}").IsDense());
  EXPECT_EQ(Policy::Parse("{}").name(), "custom");
  EXPECT_TRUE(
      Policy::Parse(R"({"entries": [{"heads": [3], "prefill": {}, "decode": {}}]})").IsDense());
  EXPECT_TRUE(
      Policy::Parse(R"({"default": {"prefill": {"skip_softmax": {"threshold": 0}}}})").IsDense());
  EXPECT_FALSE(
      Policy::Parse(R"({"entries": [{"decode": {"n_of_m": {"n": 1, "m": 2}}}]})").IsDense());
}

TEST(PolicyParse, ReadsFiles) {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("tamis_policy_{}.json", getpid());
  std::ofstream(path) << "  \n" << kFull;
  EXPECT_EQ(Policy::Parse(path.string()).ToJson(), Policy::Parse(kFull).ToJson());
  std::ofstream(path) << "[1]";
  EXPECT_THAT(ParseError(path.string()),
              AllOf(HasSubstr("tamis_policy_"), HasSubstr("[1] is not an object")));
  std::ofstream(path) << std::string(kMaxPolicyBytes + 1, ' ');
  EXPECT_THAT(ParseError(path.string()), HasSubstr("at most 1048576"));
  std::filesystem::remove(path);
  EXPECT_THAT(ParseError(path.string()), HasSubstr("no preset and no file of that name"));
}

struct BadCase {
  const char* json;
  std::vector<std::string> parts;  // all in the one-line message
};

// `phase` is one prefill specification of the default.
std::string WithPrefill(std::string_view phase) {
  return fmt::format(R"({{"default": {{"prefill": {}}}}})", phase);
}

void ExpectErrors(const std::vector<BadCase>& cases, bool prefill) {
  for (const BadCase& c : cases) {
    const std::string message = ParseError(prefill ? WithPrefill(c.json) : c.json);
    for (const std::string& part : c.parts) EXPECT_THAT(message, HasSubstr(part)) << c.json;
    EXPECT_THAT(message, Not(HasSubstr("\n"))) << c.json;
    EXPECT_LE(message.size(), 400u) << message;
  }
}

TEST(PolicyParse, RefusesBadPhases) {
  ExpectErrors(
      {
          {R"({"selektor": {}})",
           {"default.prefill: unknown key \"selektor\"; did you mean \"selector\"?"}},
          {R"(3)", {"default.prefill: 3 is not an object"}},
          {R"({"selector": {}})",
           {"default.prefill.selector: key \"type\" is missing", "xattention"}},
          {R"({"selector": {"type": "xatention"}})",
           {"default.prefill.selector.type: there is no selector \"xatention\"",
            "did you mean \"xattention\"?", "streaming"}},
          {R"({"selector": {"type": 7}})", {"selector.type: 7 is not a string"}},
          {R"({"selector": {"type": "xattention", "treshold": 0.9}})",
           {"default.prefill.selector: unknown key \"treshold\"; did you mean \"threshold\"?"}},
          {R"({"selector": {"type": "xattention", "threshold": 1.5}})",
           {"default.prefill.selector.threshold: 1.5 is out of range", "from 0 to 1"}},
          {R"({"selector": {"type": "xattention", "threshold": "high"}})",
           {"default.prefill.selector.threshold: \"high\" is not a number"}},
          {R"({"selector": {"type": "xattention", "threshold": [0.9, 2]}})",
           {"default.prefill.selector.threshold.1: 2 is out of range"}},
          {R"({"selector": {"type": "xattention", "threshold": [0.9]}})",
           {"default.prefill.selector.threshold: a list of 1 values", "one value per query head"}},
          {R"({"selector": {"type": "xattention", "stride": [8, 16]}})",
           {"selector.stride: [8,16] is a list, but the parameter is one for all heads"}},
          {R"({"selector": {"type": "xattention", "stride": 7}})",
           {"selector.stride: 7 is out of range; give one of 4, 8, 16"}},
          {R"({"selector": {"type": "streaming", "sink_tokens": 1.5}})",
           {"selector.sink_tokens: 1.5 is not an integer"}},
          {R"({"skip_softmax": {}})",
           {"default.prefill.skip_softmax: threshold and scale_factor are both missing"}},
          {R"({"skip_softmax": {"threshold": 0.1, "scale_factor": 10}})",
           {"skip_softmax: threshold and scale_factor are both given; give one"}},
          {R"({"skip_softmax": {"threshold": 1}})",
           {"default.prefill.skip_softmax.threshold: 1 is out of range", "[0, 1)"}},
          {R"({"skip_softmax": {"threshold": -0.5}})", {"threshold: -0.5 is out of range"}},
          // These round to 1 and to 0 as the 32-bit floats that executors compare with.
          {R"({"skip_softmax": {"threshold": 0.99999999999}})", {"is out of range"}},
          {R"({"skip_softmax": {"threshold": 1e-60}})", {"1e-60 is out of range"}},
          {R"({"skip_softmax": {"threshold": null}})", {"threshold: null is not a number"}},
          {R"({"skip_softmax": {"scale_factor": 0}})", {"scale_factor: 0 is out of range"}},
          {R"({"skip_softmax": {"scale_factor": 1e13}})",
           {"scale_factor: 10000000000000.0 is out of range"}},
          {R"({"skip_softmax": {"threshold": 0.1, "max_lambda": 0.2}})",
           {"skip_softmax.max_lambda: goes with scale_factor only"}},
          {R"({"skip_softmax": {"scale_factor": 5, "max_lambda": 1}})",
           {"skip_softmax.max_lambda: 1 is out of range"}},
          {R"({"skip_softmax": {"threshold": 0.1, "geometry": {"br": 17, "bc": 128}}})",
           {"skip_softmax.geometry: no executor runs 17x128 in prefill", "128x128"}},
          {R"({"skip_softmax": {"threshold": 0.1, "geometry": {"br": 0}}})",
           {"geometry.br: 0 is out of range"}},
          {R"({"skip_softmax": {"threshold": 0.1, "geometry": {"vote": "rows"}}})",
           {"geometry.vote: \"rows\" is not one of query_head, gqa_group"}},
          {R"({"skip_softmax": {"threshold": 0.1, "geometry": {"splits": 99}}})",
           {"no executor runs 128x128 splits 99"}},
          {R"({"n_of_m": {"n": 4, "m": 4}})",
           {"n_of_m.n: 4 of 4 is impossible; give n from 1 to 3"}},
          {R"({"n_of_m": {"n": 0, "m": 2}})",
           {"n_of_m.n: 0 of 2 is impossible; give n from 1 to 1"}},
          {R"({"n_of_m": {"n": 2, "m": 5}})", {"n_of_m.m: 5 is out of range", "2, 4 or 8"}},
          {R"({"n_of_m": {"n": 2}})", {"n_of_m: key \"m\" is missing"}},
          {R"({"n_of_m": {"n": 2.0, "m": 4}})", {"n_of_m.n: 2.0 is not an integer"}},
          {R"({"n_of_m": {"n": 2, "m": 4, "sink_tokens": -1}})",
           {"n_of_m.sink_tokens: -1 is out of range"}},
          {R"({"n_of_m": {"n": 2, "m": 4, "recent_tokens": 18446744073709551615}})",
           {"n_of_m.recent_tokens: 18446744073709551615 is out of range"}},
          {R"({"n_of_m": {"n": 2, "m": 4, "skip_diagonal_blocks": 1}})",
           {"n_of_m.skip_diagonal_blocks: 1 is not true or false"}},
          {R"({"n_of_m": {"n": 2, "m": 4, "dense_recent_tokens": 64}})",
           {"n_of_m: unknown key \"dense_recent_tokens\"; did you mean \"recent_tokens\"?"}},
      },
      /*prefill=*/true);
}

TEST(PolicyParse, RefusesADeviceThatThisBuildLacks) {
  constexpr std::string_view kCuda = R"({"backend": "cuda"})";
  if (!PublishedGeometries(Device::kCuda, Phase::kPrefill).empty()) {
    EXPECT_THAT(Policy::Parse(kCuda).ToJson(), HasSubstr("\"cuda\""));
    return;
  }
  EXPECT_THAT(ParseError(std::string(kCuda)),
              AllOf(HasSubstr("backend: \"cuda\" cannot run"), HasSubstr("no CUDA executor")));
}

TEST(PolicyParse, RefusesBadDocuments) {
  ExpectErrors(
      {
          {R"({"schema_version": 2})", {"schema_version: 2 is not known; this tamis reads 1"}},
          {R"({"schema_version": "1"})", {"schema_version: \"1\" is not an integer"}},
          {R"({"name": ""})", {"name: \"\" is no name"}},
          {R"({"name": "a\nb"})", {"name: \"a\\nb\" is no name"}},
          {R"({"backend": "gpu"})", {"backend: \"gpu\" is not one of auto, cpu, cuda"}},
          {R"({"defaults": {}})",
           {"the document: unknown key \"defaults\"", "did you mean \"default\"?"}},
          {R"({"default": []})", {"default: [] is not an object"}},
          {R"({"default": {"prefil": {}}})",
           {"default: unknown key \"prefil\"; did you mean \"prefill\"?"}},
          {R"({"entries": {}})", {"entries: {} is not a list"}},
          {R"({"entries": [{}]})", {"entries.0: the entry changes nothing"}},
          {R"({"entries": [{"match": [], "prefill": {}}]})",
           {"entries.0.match: a list of 0 patterns"}},
          {R"({"entries": [{"match": "", "prefill": {}}]})",
           {"entries.0.match: \"\" is no pattern"}},
          {R"({"entries": [{"match": 4, "prefill": {}}]})", {"entries.0.match: 4 is not a string"}},
          {R"({"entries": [{"prefill": {}}, {"heads": [], "prefill": {}}]})",
           {"entries.1.heads: [] is no list of heads"}},
          {R"({"entries": [{"heads": "0-3", "prefill": {}}]})",
           {"entries.0.heads: \"0-3\" is no list"}},
          {R"({"entries": [{"heads": ["3-1"], "prefill": {}}]})",
           {"entries.0.heads.0: \"3-1\" is no head"}},
          {R"({"entries": [{"heads": ["1-99999"], "prefill": {}}]})",
           {"entries.0.heads.0: \"1-99999\" is no head"}},
          {R"({"entries": [{"heads": [-1], "prefill": {}}]})",
           {"entries.0.heads.0: -1 is out of range"}},
          {R"({"entries": [{"heads": [2, "1-3"], "prefill": {}}]})",
           {"entries.0.heads.1: head 2 is named twice"}},
          {R"({"entries": [{"when": {}, "prefill": {}}]})", {"entries.0.when: {} says nothing"}},
          {R"({"entries": [{"when": {"min_tokens": 9, "max_tokens": 8}, "prefill": {}}]})",
           {"entries.0.when: min_tokens 9 is above max_tokens 8"}},
          {R"({"entries": [{"when": {"min": 9}, "prefill": {}}]})",
           {"entries.0.when: {\"min\":9} says nothing; give min_tokens"}},
          {R"({"entries": [{"decode": {"skip_softmax": {"threshold": 0.1, "geometry": {"br": 128}}}}]})",
           {"entries.0.decode.skip_softmax.geometry: no executor runs 128x128 in decode"}},
      },
      /*prefill=*/false);
}

TEST(PolicyParse, RefusesBadJson) {
  ExpectErrors(
      {
          {"{", {"policy: not valid JSON at line 1", "ends too early"}},
          {"{\n  \"name\": \"a\",\n}", {"not valid JSON at line 3, column 1"}},
          {R"({"name": 1e999})", {"not valid JSON", "too large"}},
          {"{\"name\": \"\xff\"}", {"not valid JSON", "not UTF-8"}},
          {R"({"name": NaN})", {"not valid JSON"}},
          {R"({} {})", {"not valid JSON"}},
          {R"({"name": "a", "name": "b"})", {"the document: key \"name\" is given twice"}},
          {R"({"default": {"prefill": {}, "prefill": {}}})",
           {"\"default\": key \"prefill\" is given twice"}},
      },
      /*prefill=*/false);
  EXPECT_THAT(ParseError("{\"a\":" + std::string(100000, '[')), HasSubstr("nested deeper than 16"));
  EXPECT_THAT(ParseError("{\"a\": \"" + std::string(2 << 20, 'x') + "\"}"),
              HasSubstr("a policy has at most 1048576"));
  std::string many = "{\"a\": [1";
  for (int i = 0; i < 70000; ++i) many += ",1";
  EXPECT_THAT(ParseError(many + "]}"), HasSubstr("more than 65536 values"));
  std::string keys = "{\"k\": 1";
  for (int i = 0; i < 2000; ++i) keys += fmt::format(",\"k{}\": 1", i);
  EXPECT_THAT(ParseError(keys + "}"), HasSubstr("more than 1024 keys in one object"));
  // A hostile key is cut and escaped in the message.
  const std::string message = ParseError("{\"" + std::string(5000, 'k') + "\\n\": 1}");
  EXPECT_THAT(message, HasSubstr("unknown key \"kkk"));
  EXPECT_LE(message.size(), 300u);
}

TEST(PolicyParse, UnknownNamesGetSuggestions) {
  EXPECT_THAT(ParseError("xatention"), HasSubstr("did you mean \"xattention\"?"));
  EXPECT_THAT(ParseError("skip_softmax"), HasSubstr("did you mean \"skip-softmax\"?"));
  EXPECT_THAT(ParseError(""), HasSubstr("policy \"\": no preset and no file"));
  EXPECT_THAT(ParseError(std::string("a\0b", 3)), HasSubstr("no preset and no file"));
  EXPECT_THAT(ParseError("/"), HasSubstr("no preset and no file"));
}

Policy ParseWith(std::string_view spec, std::vector<std::string> overrides) {
  return Policy::Parse(spec, overrides);
}

TEST(PolicyOverrides, SetDottedPaths) {
  const Policy policy = ParseWith(
      "xattention", {"prefill.selector.threshold=0.8", "decode.skip_softmax.threshold=0.01"});
  EXPECT_EQ(policy.document().prefill.selector->values.at("threshold"), std::vector<double>{0.8});
  EXPECT_EQ(policy.document().decode.skip_softmax->threshold, 0.01);
  EXPECT_EQ(policy.name(),
            "xattention (prefill.selector.threshold=0.8, decode.skip_softmax.threshold=0.01)");

  const Policy entry =
      ParseWith(kFull, {"entries.1.decode.n_of_m.n=1", "backend=auto", "name=renamed",
                        "default.prefill={}", "entries.0.heads=[1]"});
  EXPECT_EQ(entry.name(), "renamed");
  EXPECT_EQ(entry.document().backend, Backend::kAuto);
  EXPECT_EQ(entry.document().entries[1].decode->n_of_m->n, 1);
  EXPECT_THAT(entry.document().entries[0].heads, ::testing::ElementsAre(1));
  EXPECT_TRUE(entry.document().prefill.IsDense());
}

TEST(PolicyOverrides, ReachModelOptPoliciesAsTamisReadsThem) {
  const Policy policy =
      ParseWith("SKIP_SOFTMAX_DEFAULT", {"entries.0.prefill.skip_softmax.threshold=0.02"});
  EXPECT_EQ(policy.document().entries[0].prefill->skip_softmax->threshold, 0.02);
}

TEST(PolicyOverrides, RefuseWhatLeadsNowhere) {
  const struct {
    const char* setting;
    const char* part;
  } cases[] = {
      {"threshold", "override \"threshold\": no key=value"},
      {"=1", "no key=value"},
      {"prefill..x=1", "is no key"},
      {".=1", "is no key"},
      {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s=1", "is no key"},
      {"prefill.selector.treshold=0.8", "default.prefill.selector: unknown key \"treshold\""},
      {"prefill.selector.threshold=0,8", "threshold: \"0,8\" is not a number"},
      {"prefill.selector.threshold=", "threshold: \"\" is not a number"},
      {"prefill.selector.threshold={", "not valid JSON"},
      {"prefill.selector.threshold.x=1", "0.9 has no key \"x\""},
      {"entries.0.prefill={}", "entries: {"},
      {"prefill.skip_softmax.threshold=2", "default.prefill.skip_softmax.threshold: 2 is out of"},
      {"name.x=2", "override \"name.x=2\": \"xattention\" has no key \"x\""},
  };
  for (const auto& c : cases) {
    const std::string message = ParseError("xattention", {c.setting});
    EXPECT_THAT(message, HasSubstr(c.part)) << c.setting;
    EXPECT_THAT(message, HasSubstr("policy xattention: ")) << c.setting;
  }
  EXPECT_THAT(ParseError(kFull, {"entries.7.heads=[1]"}),
              HasSubstr("\"7\" is no item of a list of 2"));
  EXPECT_THAT(ParseError(kFull, {"entries.x.heads=[1]"}), HasSubstr("\"x\" is no item"));
  EXPECT_THAT(ParseError("dense", {std::string("name=\xff\xfe")}),
              HasSubstr("the value is not UTF-8"));
}

TEST(PolicyPresets, AllParseOrSayWhatTheyNeed) {
  for (const PresetInfo& info : PolicyPresets()) {
    const std::string name(info.name);
    const std::string message = ParseError(name);
    if (name.find("CALIB") != std::string::npos) {
      EXPECT_THAT(message, AllOf(HasSubstr("policy " + name), HasSubstr("`tamis calibrate`")));
      EXPECT_THAT(std::string(info.help), HasSubstr("`tamis calibrate`"));
    } else if (name == "VSA_DEFAULT") {
      EXPECT_THAT(message, HasSubstr("\"vsa\" (video sparse attention) is not run by tamis yet"));
    } else {
      EXPECT_EQ(message, "no error") << name;
      EXPECT_EQ(Policy::Parse(name).name(), name);
      EXPECT_EQ(Policy::Parse(name).IsDense(), name == "dense");
    }
  }
  EXPECT_EQ(PolicyPresets().size(), 13u);
}

TEST(PolicyPresets, HoldWhatTheyPromise) {
  const auto document = [](std::string_view name) { return Policy::Parse(name).document(); };
  EXPECT_EQ(document("n-of-m-2-4").prefill.n_of_m, (NOfMSpec{2, 4, 0, 64, false}));
  EXPECT_TRUE(document("n-of-m-2-4").decode.IsDense());
  EXPECT_EQ(document("xattention").prefill.selector->values.at("stride")[0], 16);
  EXPECT_EQ(document("xattention").prefill.selector->values.at("threshold")[0], 0.9);
  EXPECT_TRUE(document("xattention").decode.IsDense());
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    EXPECT_EQ(document("streaming").phase(phase).selector->type, "streaming");
    EXPECT_EQ(document("skip-softmax").phase(phase).skip_softmax->geometry, DefaultGeometry(phase));
  }
  EXPECT_EQ(document("skip-softmax").prefill.skip_softmax->threshold, 0.01);
  EXPECT_EQ(document("skip-softmax").decode.skip_softmax->threshold, 0.001);
  const Policy::Document sparse24 = document("SPARSE24_TRITON");
  EXPECT_EQ(sparse24.entries[0].prefill->n_of_m, (NOfMSpec{2, 4, 0, 0, true}));
  EXPECT_TRUE(sparse24.prefill.IsDense());
}

}  // namespace
}  // namespace tamis::policy
