// Policies met with a model: order, heads, lengths, partitions, and the table that shows them.
#include "policy/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy_testing.h"

namespace tamis::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Resolver, LastMatchWinsPerPhaseAndHead) {
  const Policy policy = Policy::Parse(R"({
    "default": {"prefill": {"n_of_m": {"n": 1, "m": 2}}},
    "entries": [
      {"match": "*.layers.[0-1].*", "heads": ["0-2"], "prefill": {}},
      {"heads": [2, 3], "decode": {"n_of_m": {"n": 2, "m": 4}}},
      {"match": "*.layers.1.*", "heads": [1], "prefill": {"n_of_m": {"n": 3, "m": 8}}}
    ]})");
  const Resolver resolver(policy, Target(3, 4, 2), Device::kCpu);
  EXPECT_THAT(resolver.Heads(0, Phase::kPrefill, 1), ElementsAre(1, 1, 1, 0));
  EXPECT_THAT(resolver.Heads(1, Phase::kPrefill, 1), ElementsAre(1, 3, 1, 0));
  EXPECT_THAT(resolver.Heads(2, Phase::kPrefill, 1), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(resolver.Heads(1, Phase::kDecode, 1), ElementsAre(0, 0, 2, 2));
  EXPECT_TRUE(resolver.Spec(1, Phase::kPrefill).IsDense());
  EXPECT_EQ(resolver.Spec(3, Phase::kPrefill).n_of_m->m, 8);
}

TEST(Resolver, LengthsAreInclusive) {
  const Policy policy = Policy::Parse(R"({"entries": [
      {"when": {"min_tokens": 100, "max_tokens": 200}, "prefill": {"n_of_m": {"n": 1, "m": 2}}},
      {"when": {"min_tokens": 200}, "prefill": {"n_of_m": {"n": 1, "m": 4}}}]})");
  const Resolver resolver(policy, Target(1, 1, 1), Device::kCpu);
  const std::pair<int, int> expected[] = {{0, 0}, {99, 0}, {100, 1}, {199, 1}, {200, 2}, {201, 2}};
  for (const auto& [keys, id] : expected) {
    EXPECT_EQ(resolver.Heads(0, Phase::kPrefill, keys)[0], id) << keys;
  }
  EXPECT_EQ(resolver.LengthClass(100), resolver.LengthClass(199));
  EXPECT_NE(resolver.LengthClass(99), resolver.LengthClass(100));
  EXPECT_NE(resolver.LengthClass(199), resolver.LengthClass(200));
  EXPECT_NE(resolver.LengthClass(200), resolver.LengthClass(201));
}

TEST(Resolver, RefusesWhatDoesNotFitTheModel) {
  const auto error = [](std::string_view json, Device device = Device::kCpu) {
    return ErrorOf([&] { Resolver(Policy::Parse(json), Target(4, 6, 2), device); });
  };
  EXPECT_THAT(error(R"({"name": "x", "entries": [{"match": "*.mlp", "prefill": {}}]})"),
              HasSubstr("policy x: entries.0.match: \"*.mlp\" matches none of the 4"));
  // Each pattern of a list must match something.
  EXPECT_THAT(error(R"({"entries": [{"match": ["*", "*.9.*"], "prefill": {}}]})"),
              HasSubstr("\"*.9.*\" matches none"));
  EXPECT_THAT(
      error(R"({"entries": [{"heads": ["4-6"], "prefill": {}}]})"),
      HasSubstr("entries.0.heads: head 6 does not exist; the model has query heads 0 to 5"));
  EXPECT_THAT(error(R"({"default": {"prefill": {"selector":
                  {"type": "xattention", "threshold": [0.5, 0.6]}}}})"),
              HasSubstr("default.prefill.selector.threshold: 2 values for 6 query heads"));
  EXPECT_THAT(error(R"({"backend": "cpu"})", Device::kCuda),
              HasSubstr("backend: the policy is for cpu, the run is on cuda"));
  EXPECT_THAT(ErrorOf([] { Resolver(Policy::Dense(), Target(1, 5, 2), Device::kCpu); }),
              HasSubstr("5 query heads, 2 KV heads"));
  EXPECT_THAT(ErrorOf([] { Resolver(Policy::Dense(), Target(0, 4, 2), Device::kCpu); }),
              HasSubstr("0 layers"));
}

std::vector<std::pair<int32_t, int32_t>> Ranges(const std::vector<HeadRange>& ranges) {
  std::vector<std::pair<int32_t, int32_t>> out;
  for (const HeadRange& r : ranges) out.emplace_back(r.begin, r.end);
  return out;
}

TEST(Resolver, RangesRespectGroups) {
  using P = std::pair<int32_t, int32_t>;
  // 0 dense, 1 and 2 different rules; 12 heads in groups of 3.
  const Policy policy = Policy::Parse(R"({"entries": [
      {"heads": [0], "prefill": {"n_of_m": {"n": 1, "m": 2}}},
      {"heads": [1], "prefill": {"n_of_m": {"n": 1, "m": 4}}}]})");
  const Resolver resolver(policy, Target(1, 12, 4), Device::kCpu);
  const auto ranges = [&](const std::vector<int32_t>& heads) {
    return Ranges(resolver.Partition(heads, Phase::kPrefill));
  };
  EXPECT_THAT(ranges({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), ElementsAre(P(0, 12)));
  EXPECT_THAT(ranges({0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0}),
              ElementsAre(P(0, 3), P(3, 9), P(9, 12)));
  // A run that starts inside a group, covers one whole group, and ends inside another.
  EXPECT_THAT(ranges({0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}),
              ElementsAre(P(0, 1), P(1, 3), P(3, 6), P(6, 7), P(7, 9), P(9, 12)));
  EXPECT_THAT(ranges({0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
              ElementsAre(P(0, 1), P(1, 2), P(2, 3), P(3, 12)));
  EXPECT_THAT(ranges({0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0}),
              ElementsAre(P(0, 3), P(3, 4), P(4, 6), P(6, 7), P(7, 9), P(9, 12)));
}

TEST(Resolver, PerHeadValuesTravelInOneCall) {
  const Policy policy = Policy::Parse(R"({
    "default": {"prefill": {"selector":
        {"type": "xattention", "threshold": [0.5, 0.6, 0.7, 0.8]}}},
    "entries": [{"heads": [1], "prefill": {"selector": {"type": "xattention", "threshold": 0.9}}},
                {"heads": [3], "prefill": {"selector": {"type": "xattention", "stride": 8}}}]})");
  const Resolver resolver(policy, Target(1, 4, 1), Device::kCpu);
  const auto ranges = resolver.Partition(resolver.Heads(0, Phase::kPrefill, 1), Phase::kPrefill);
  using P = std::pair<int32_t, int32_t>;
  EXPECT_THAT(Ranges(ranges), ElementsAre(P(0, 3), P(3, 4)));
  EXPECT_NE(ranges[0].selector, nullptr);
}

TEST(Lambda, ScalesWithLengthAndSaturates) {
  SkipSoftmaxSpec spec;
  spec.scale_factor = 100.0;
  EXPECT_EQ(spec.Lambda(1000), 0.1);
  EXPECT_EQ(spec.Lambda(100), 1.0);  // runs dense, counted
  EXPECT_EQ(spec.Lambda(50), 2.0);
  EXPECT_EQ(spec.Lambda(0), 0.0);
  spec.max_lambda = 0.25;
  EXPECT_EQ(spec.Lambda(200), 0.25);
  EXPECT_EQ(spec.Lambda(1000), 0.1);
  EXPECT_EQ(spec.Lambda(50), 2.0);
}

TEST(Explain, GroupsEqualLayersAndHeads) {
  const Policy policy = Policy::Parse(R"({"name": "demo",
    "default": {"prefill": {"n_of_m": {"n": 2, "m": 4, "recent_tokens": 64}},
                "decode": {"skip_softmax": {"scale_factor": 41, "max_lambda": 0.5}}},
    "entries": [
      {"match": "*.layers.[0-1].*", "prefill": {}, "decode": {}},
      {"match": "*.layers.9.*", "heads": [0, "4-5"], "prefill": {}}]})");
  EXPECT_EQ(ExplainPolicy(policy, Target(12, 6, 2), 8200, Device::kCpu),
            "policy demo at 8200 keys on cpu: 12 layers, 6 query heads, 2 KV heads\n"
            "\n"
            "layers  heads  prefill        decode\n"
            "0-1     all    dense          dense\n"
            "2-8     all    2:4 recent=64  skip-softmax 1x128 lambda=0.005 (41/8200 keys)\n"
            "9       0      dense          skip-softmax 1x128 lambda=0.005 (41/8200 keys)\n"
            "        1-3    2:4 recent=64  skip-softmax 1x128 lambda=0.005 (41/8200 keys)\n"
            "        4-5    dense          skip-softmax 1x128 lambda=0.005 (41/8200 keys)\n"
            "10-11   all    2:4 recent=64  skip-softmax 1x128 lambda=0.005 (41/8200 keys)\n");
  EXPECT_THAT(ExplainPolicy(policy, Target(12, 6, 2), 41, Device::kCpu),
              HasSubstr("lambda=1 (41/41 keys), 1 or more: dense"));
  EXPECT_THAT(ExplainPolicy(policy, Target(12, 6, 2), 60, Device::kCpu),
              HasSubstr("lambda=0.5 (41/60 keys), held at max_lambda"));
  EXPECT_THAT(ErrorOf([&] { ExplainPolicy(policy, Target(12, 6, 2), 0, Device::kCpu); }),
              HasSubstr("0 keys"));
}

}  // namespace
}  // namespace tamis::policy
