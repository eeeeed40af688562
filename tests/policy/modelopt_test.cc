// ModelOpt configurations: what they mean, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/resolver.h"
#include "policy_testing.h"

namespace tamis::policy {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Policy Import(std::string_view sparse_cfg) {
  return Policy::Parse(fmt::format(R"({{"sparse_cfg": {}}})", sparse_cfg));
}

// What layer 0 of a one-layer model runs, as one short line.
std::string Resolved(std::string_view sparse_cfg, Phase phase) {
  const Resolver resolver(Import(sparse_cfg), Target(1, 2, 1), Device::kCpu);
  const PhaseSpec& spec = resolver.Spec(resolver.Heads(0, phase, 1000)[0], phase);
  std::string text;
  if (spec.selector) text += "selector ";
  if (spec.skip_softmax) {
    const TileGeometry& g = spec.skip_softmax->geometry;
    text +=
        fmt::format("skip {} {}x{} ", spec.skip_softmax->threshold, g.tile_rows, g.tile_columns);
  }
  if (spec.n_of_m) {
    text += fmt::format("{}:{} sink {} recent {}{} ", spec.n_of_m->n, spec.n_of_m->m,
                        spec.n_of_m->sink_tokens, spec.n_of_m->recent_tokens,
                        spec.n_of_m->skip_diagonal_blocks ? " diagonal" : "");
  }
  if (text.empty()) return "dense";
  text.pop_back();
  return text;
}

TEST(ModelOpt, MeansWhatItMeansThere) {
  const struct {
    const char* sparse_cfg;
    const char* prefill;
    const char* decode;
  } cases[] = {
      // Nothing said: modules are wrapped and enabled with every default.
      {R"({})", "skip 0.001 128x128", "skip 0.0001 1x128"},
      {R"({"default": {}})", "skip 0.001 128x128", "skip 0.0001 1x128"},
      {R"({"default": {"enable": false}})", "dense", "dense"},
      {R"({"*attn*": {}, "default": {"enable": false}})", "skip 0.001 128x128",
       "skip 0.0001 1x128"},
      // "default" is applied first wherever it is written.
      {R"({"*attn*": {"enable": false}, "default": {"enable": true}})", "dense", "dense"},
      // The last match wins, in the order written.
      {R"({"*attn*": {"thresholds": {"prefill": [0.1], "decode": [0.2]}}, "*": {"enable": false}})",
       "dense", "dense"},
      {R"({"*": {"enable": false}, "*attn*": {"thresholds": {"prefill": [0.1], "decode": [0.2]}}})",
       "skip 0.1 128x128", "skip 0.2 1x128"},
      // Each application starts from the defaults again: the method of the first is forgotten.
      {R"({"*attn*": {"method": "triton_sparse_softmax"}, "*layers.0*": {"enable": true}})",
       "skip 0.001 128x128", "skip 0.0001 1x128"},
      // Of several thresholds the first one masks.
      {R"({"*": {"thresholds": {"prefill": [0.3, 0.1], "decode": [0.02, 0.9]}}})",
       "skip 0.3 128x128", "skip 0.02 1x128"},
      // A phase left out: decode takes prefill's list, prefill its own default.
      {R"({"*": {"thresholds": {"prefill": [0.3]}}})", "skip 0.3 128x128", "skip 0.3 1x128"},
      {R"({"*": {"thresholds": {"decode": [0.3]}}})", "skip 0.001 128x128", "skip 0.3 1x128"},
      {R"({"*": {"thresholds": {"prefill": 0.3, "decode": 0.4}}})", "skip 0.3 128x128",
       "skip 0.4 1x128"},
      {R"({"*": {"threshold": 0.05}})", "skip 0.05 128x128", "skip 0.05 1x128"},
      {R"({"*": {"threshold": {"prefill": 0.05, "decode": 0.5}}})", "skip 0.05 128x128",
       "skip 0.5 1x128"},
      {R"({"*": {"method": "flash_skip_softmax", "br": 128, "bc": 128, "backend": "pytorch",
                 "collect_stats": true, "is_causal": true, "sparsity_n": 2, "sparsity_m": 4,
                 "dense_sink_tokens": 0, "dense_recent_tokens": 64, "skip_softmax_threshold": 0.1,
                 "export_sparse_softmax": false, "initial_disabled_steps": 0}})",
       "skip 0.001 128x128", "skip 0.0001 1x128"},
      {R"({"*": {"br": 128, "bc": 64}})", "skip 0.001 128x64", "skip 0.0001 1x64"},
      {R"({"*": {"method": "triton_skip_softmax", "backend": "triton"}})", "skip 0.1 128x128",
       "skip 0.1 1x128"},
      {R"({"*": {"method": "triton_skip_softmax", "skip_softmax_threshold": 0.02}})",
       "skip 0.02 128x128", "skip 0.02 1x128"},
      {R"({"*": {"method": "triton_skip_softmax", "skip_softmax_threshold": 0}})", "dense",
       "dense"},
      {R"({"*": {"method": "triton_sparse_softmax"}})", "2:4 sink 0 recent 64", "dense"},
      {R"({"*": {"method": "triton_sparse_softmax", "sparsity_n": 7, "sparsity_m": 8,
                 "dense_sink_tokens": 4, "dense_recent_tokens": 128}})",
       "7:8 sink 4 recent 128", "dense"},
      {R"({"*": {"method": "triton_sparse_softmax", "sparsity_n": 0}})", "dense", "dense"},
      {R"({"*": {"method": "sparse24_triton", "backend": "triton"}})",
       "2:4 sink 0 recent 0 diagonal", "dense"},
      {R"({"*": {"method": "sparse24_triton", "skip_diagonal_blocks": false}})",
       "2:4 sink 0 recent 0", "dense"},
      // Different methods and backends side by side are fine: one executor runs them all.
      {R"({"*": {"backend": "pytorch"}, "*attn": {"method": "triton_sparse_softmax",
           "backend": "triton"}})",
       "2:4 sink 0 recent 64", "dense"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Resolved(c.sparse_cfg, Phase::kPrefill), c.prefill) << c.sparse_cfg;
    EXPECT_EQ(Resolved(c.sparse_cfg, Phase::kDecode), c.decode) << c.sparse_cfg;
  }
}

TEST(ModelOpt, UnmatchedLayersStayEnabledWithoutDefault) {
  const Resolver resolver(Import(R"({"*.layers.0.*": {"enable": false}})"), Target(2, 2, 1),
                          Device::kCpu);
  const auto spec = [&](int32_t layer) -> const PhaseSpec& {
    return resolver.Spec(resolver.Heads(layer, Phase::kPrefill, 10)[0], Phase::kPrefill);
  };
  EXPECT_TRUE(spec(0).IsDense());
  ASSERT_TRUE(spec(1).skip_softmax);
  EXPECT_EQ(spec(1).skip_softmax->threshold, 1e-3);
}

TEST(ModelOpt, RefusesWithKeyAndReason) {
  const struct {
    const char* sparse_cfg;
    std::vector<std::string> parts;
  } cases[] = {
      {R"({"calibration": {"samples": 64}})", {"sparse_cfg.calibration:", "`tamis calibrate`"}},
      {R"({"*attn*": {"calibration": {}}})",
       {"sparse_cfg.\"*attn*\".calibration", "never takes effect", "`tamis calibrate`"}},
      {R"({"*attn*": {"method": "vsa"}})", {"sparse_cfg.\"*attn*\".method: \"vsa\"", "not run"}},
      {R"({"*attn*": {"method": "magic"}})",
       {"method: \"magic\" is not one of flash_skip_softmax, triton_skip_softmax"}},
      {R"({"*attn*": {"treshold": 1}})",
       {"sparse_cfg.\"*attn*\": unknown key \"treshold\"; did you mean \"threshold\"?"}},
      {R"({"*attn*": {"thresholds": {}}})", {"thresholds: empty"}},
      {R"({"*attn*": {"thresholds": 0.1}})", {"thresholds: 0.1 is not an object"}},
      {R"({"*attn*": {"thresholds": {"prefil": 0.1}}})", {"unknown key \"prefil\""}},
      {R"({"*attn*": {"thresholds": {"prefill": []}}})", {"thresholds.prefill: an empty list"}},
      {R"({"*attn*": {"thresholds": {"prefill": [0.1, 1.0]}}})",
       {"thresholds.prefill.1: 1 is out of range", "(0, 1)"}},
      {R"({"*attn*": {"thresholds": {"decode": 0}}})", {"thresholds.decode: 0 is out of range"}},
      {R"({"*attn*": {"thresholds": {"prefill": [0.1, 0.2], "decode": [0.1]}}})",
       {"2 prefill and 1 decode thresholds"}},
      {R"({"*attn*": {"threshold": 0.1, "thresholds": {"decode": 0.1}}})", {"both given"}},
      {R"({"*attn*": {"br": 17}})", {"sparse_cfg.\"*attn*\".br: no executor runs 17x128"}},
      {R"({"*attn*": {"bc": 17}})", {"sparse_cfg.\"*attn*\".bc: no executor runs 128x17"}},
      {R"({"*attn*": {"br": 0}})", {"br: 0 is out of range"}},
      {R"({"*attn*": {"backend": "cuda"}})", {"backend: \"cuda\" is not one of pytorch, triton"}},
      {R"({"*attn*": {"enable": 1}})", {"enable: 1 is not true or false"}},
      {R"({"*attn*": {"is_causal": false}})", {"is_causal: false has no effect"}},
      {R"({"*attn*": {"initial_disabled_steps": 3}})", {"initial_disabled_steps", "diffusion"}},
      {R"({"*attn*": {"export_sparse_softmax": true}})", {"export_sparse_softmax", "export"}},
      {R"({"*attn*": {"sparsity_m": 2}})", {"sparsity_m: 2 is out of range; give 4 or 8"}},
      {R"({"*attn*": {"method": "triton_sparse_softmax", "sparsity_n": 4}})",
       {"sparsity_n: 4 is out of range", "0 to 3"}},
      {R"({"*attn*": {"sparsity_n": 1}})",
       {"sparsity_n: has no effect with method flash_skip_softmax"}},
      {R"({"*attn*": {"skip_softmax_threshold": 0.5}})",
       {"skip_softmax_threshold: has no effect with method flash_skip_softmax"}},
      {R"({"*attn*": {"method": "triton_skip_softmax", "thresholds": {"prefill": [0.5]}}})",
       {"thresholds: has no effect with method triton_skip_softmax"}},
      {R"({"*attn*": {"method": "triton_skip_softmax", "skip_softmax_threshold": 1}})",
       {"skip_softmax_threshold: 1 is out of range"}},
      {R"({"*attn*": {"method": "triton_sparse_softmax", "bc": 64}})",
       {"bc: has no effect with method triton_sparse_softmax"}},
      {R"({"*attn*": {"skip_diagonal_blocks": true}})", {"unknown key \"skip_diagonal_blocks\""}},
      {R"({"*attn*": 1})", {"sparse_cfg.\"*attn*\": 1 is not an object"}},
      {R"({"*attn*": {}, "*attn*": {}})", {"key \"*attn*\" is given twice"}},
      {R"(7)", {"sparse_cfg: 7 is not an object"}},
  };
  for (const auto& c : cases) {
    const std::string message = ErrorOf([&] { Import(c.sparse_cfg); });
    for (const std::string& part : c.parts) EXPECT_THAT(message, HasSubstr(part)) << c.sparse_cfg;
    EXPECT_THAT(message, Not(HasSubstr("\n")));
  }
  EXPECT_THAT(ParseError(R"({"sparse_cfg": {}, "export_format": "hf"})"),
              HasSubstr("export_format: \"hf\" has no effect"));
  EXPECT_EQ(ParseError(R"({"sparse_cfg": {}, "export_format": null})"), "no error");
  EXPECT_THAT(ParseError(R"({"sparse_cfg": {}, "entries": []})"),
              HasSubstr("unknown key \"entries\""));
}

TEST(ModelOpt, APatternThatMatchesNothingIsAnError) {
  // ModelOpt's own default configuration, on a Llama: there it silently does nothing.
  const Policy policy =
      Import(R"({"*attention*": {"enable": true}, "default": {"enable": false}})");
  EXPECT_THAT(ErrorOf([&] { Resolver(policy, Target(30, 9, 3), Device::kCpu); }),
              HasSubstr("\"*attention*\" matches none of the 30 attention modules "
                        "(model.layers.0.self_attn to model.layers.29.self_attn)"));
}

}  // namespace
}  // namespace tamis::policy
