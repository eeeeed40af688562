#include "policy/modelopt.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "policy/document.h"
#include "policy/json_reader.h"

namespace tamis::policy {
namespace {

constexpr double kPrefillThreshold = 1e-3;
constexpr double kDecodeThreshold = 1e-4;
constexpr double kTritonThreshold = 0.1;
constexpr int kBlock = 128;
constexpr int kRecentTokens = 64;

// The two phases of a tamis policy.
struct Phases {
  Json prefill = Json::object();
  Json decode = Json::object();
};

// The thresholds of one phase: a number or a list, each in (0, 1). Of several the first one masks;
// the rest only ever feed ModelOpt's statistics, but must be valid.
std::vector<double> ReadThresholdList(const Json& value, const std::string& path) {
  std::vector<double> list;
  const auto add = [&](const Json& item, const std::string& at) {
    list.push_back(ReadReal(item, at));
    CheckThreshold(list.back(), at, /*zero_allowed=*/false);
  };
  if (!value.is_array()) {
    add(value, path);
    return list;
  }
  Require(!value.empty(), "{}: an empty list; give at least one threshold", path);
  for (size_t i = 0; i < value.size(); ++i) add(value[i], JoinPath(path, std::to_string(i)));
  return list;
}

// {prefill, decode} of "thresholds": {...} or of the older "threshold": a number for both phases
// or {...}.
struct Thresholds {
  double prefill = kPrefillThreshold;
  double decode = kDecodeThreshold;
  bool operator==(const Thresholds&) const = default;
};

Thresholds ReadThresholds(ObjectReader& reader) {
  const Json* plural = reader.Find("thresholds");
  const Json* singular = reader.Find("threshold");
  if (plural == nullptr && singular == nullptr) return {};
  Require(plural == nullptr || singular == nullptr,
          "{}: threshold and thresholds are both given; keep thresholds", reader.Name());
  const std::string path = reader.Path(plural != nullptr ? "thresholds" : "threshold");
  const Json& value = plural != nullptr ? *plural : *singular;
  if (singular != nullptr && value.is_number()) {
    const double both = ReadThresholdList(value, path)[0];
    return {both, both};
  }
  ObjectReader phases(value, path);
  const Json* prefill = phases.Find("prefill");
  const Json* decode = phases.Find("decode");
  phases.Finish();
  Require(prefill != nullptr || decode != nullptr, "{}: empty; give prefill, decode or both", path);
  std::vector<double> prefill_list, decode_list;
  if (prefill != nullptr) prefill_list = ReadThresholdList(*prefill, phases.Path("prefill"));
  if (decode != nullptr) decode_list = ReadThresholdList(*decode, phases.Path("decode"));
  Require(prefill == nullptr || decode == nullptr || prefill_list.size() == decode_list.size(),
          "{}: {} prefill and {} decode thresholds; give as many of one as of the other", path,
          prefill_list.size(), decode_list.size());
  Thresholds out;
  if (prefill != nullptr) out.prefill = prefill_list[0];
  // ModelOpt's decode falls back to the list of prefill, not to its own default.
  out.decode = decode != nullptr ? decode_list[0] : out.prefill;
  return out;
}

// One attribute object. Every key is read and checked whatever the method, as ModelOpt does.
class Attributes {
 public:
  Attributes(const Json& value, std::string path) : reader_(value, std::move(path)) {
    method_ = reader_.Word("method", {"flash_skip_softmax", "triton_skip_softmax",
                                      "triton_sparse_softmax", "sparse24_triton", "vsa"});
    if (method_.empty()) method_ = "flash_skip_softmax";
    Require(method_ != "vsa",
            "{}: \"vsa\" (video sparse attention) is not run by tamis yet; choose another method",
            reader_.Path("method"));
    Require(!reader_.Has("calibration"),
            "{}: calibration inside a pattern never takes effect in ModelOpt; calibrate with "
            "`tamis calibrate` (planned) and give thresholds here",
            reader_.Path("calibration"));
    enable_ = reader_.Boolean("enable", true);
    reader_.Word("backend", {"pytorch", "triton"});
    reader_.Boolean("collect_stats", false);
    Require(reader_.Boolean("is_causal", true),
            "{}: false has no effect: the model's own mask decides; remove the key",
            reader_.Path("is_causal"));
    Require(!reader_.Boolean("export_sparse_softmax", false),
            "{}: true asks for metadata at export, which tamis does not write; remove the key",
            reader_.Path("export_sparse_softmax"));
    Require(reader_.Integer("initial_disabled_steps", 0, 0, kMaxTokens) == 0,
            "{}: steps belong to diffusion models, which tamis does not run yet; remove the key",
            reader_.Path("initial_disabled_steps"));
    thresholds_ = ReadThresholds(reader_);
    br_ = reader_.Integer("br", kBlock, 1, kMaxTokens);
    bc_ = reader_.Integer("bc", kBlock, 1, kMaxTokens);
    if (const Json* lambda = reader_.Find("skip_softmax_threshold")) {
      triton_threshold_ = ReadReal(*lambda, reader_.Path("skip_softmax_threshold"));
      CheckThreshold(triton_threshold_, reader_.Path("skip_softmax_threshold"),
                     /*zero_allowed=*/true);
    }
    m_ = reader_.Integer("sparsity_m", 4, INT32_MIN, INT32_MAX);
    Require(m_ == 4 || m_ == 8, "{}: {} is out of range; give 4 or 8", reader_.Path("sparsity_m"),
            m_);
    n_ = reader_.Integer("sparsity_n", 2, 0, m_ - 1);
    sink_tokens_ = reader_.Integer("dense_sink_tokens", 0, 0, kMaxTokens);
    recent_tokens_ = reader_.Integer("dense_recent_tokens", kRecentTokens, 0, kMaxTokens);
    if (method_ == "sparse24_triton") {
      skip_diagonal_blocks_ = reader_.Boolean("skip_diagonal_blocks", true);
    }
    reader_.Finish();
  }

  Phases Translate() {
    if (!enable_) return {};
    if (method_ == "flash_skip_softmax") {
      RefuseNOfMKeys();
      Refuse("skip_softmax_threshold", triton_threshold_ != kTritonThreshold);
      return SkipSoftmax(thresholds_);
    }
    Refuse(reader_.Has("threshold") ? "threshold" : "thresholds", thresholds_ != Thresholds{});
    if (method_ == "triton_skip_softmax") {
      RefuseNOfMKeys();
      if (triton_threshold_ == 0.0) return {};
      return SkipSoftmax({triton_threshold_, triton_threshold_});
    }
    Refuse("skip_softmax_threshold", triton_threshold_ != kTritonThreshold);
    Refuse("br", br_ != kBlock);
    Refuse("bc", bc_ != kBlock);
    if (method_ == "triton_sparse_softmax") return NOfM(false);
    RefuseNOfMKeys();
    n_ = 2;
    m_ = 4;
    sink_tokens_ = recent_tokens_ = 0;
    return NOfM(skip_diagonal_blocks_);
  }

 private:
  void Refuse(std::string_view key, bool set) {
    Require(!set, "{}: has no effect with method {}; remove the key", reader_.Path(key), method_);
  }
  void RefuseNOfMKeys() {
    Refuse("sparsity_n", n_ != 2);
    Refuse("sparsity_m", m_ != 4);
    Refuse("dense_sink_tokens", sink_tokens_ != 0);
    Refuse("dense_recent_tokens", recent_tokens_ != kRecentTokens);
  }

  // br and bc tile prefill; decode tiles one row by bc.
  Phases SkipSoftmax(const Thresholds& lambda) {
    const auto translate = [&](Phase phase, double threshold, int64_t rows) -> Json {
      TileGeometry geometry = DefaultGeometry(phase);
      geometry.tile_rows = static_cast<int32_t>(rows);
      geometry.tile_columns = static_cast<int32_t>(bc_);
      CheckGeometry(geometry, phase, Backend::kAuto,
                    reader_.Path(phase == Phase::kPrefill && br_ != kBlock ? "br" : "bc"));
      Json skip = Json::object();
      skip["threshold"] = threshold;
      skip["geometry"] = {{"br", geometry.tile_rows}, {"bc", geometry.tile_columns}};
      return {{"skip_softmax", std::move(skip)}};
    };
    return {translate(Phase::kPrefill, lambda.prefill, br_),
            translate(Phase::kDecode, lambda.decode, 1)};
  }

  Phases NOfM(bool skip_diagonal_blocks) {
    Phases out;
    if (n_ == 0) return out;
    out.prefill["n_of_m"] = {{"n", n_},
                             {"m", m_},
                             {"sink_tokens", sink_tokens_},
                             {"recent_tokens", recent_tokens_},
                             {"skip_diagonal_blocks", skip_diagonal_blocks}};
    return out;
  }

  ObjectReader reader_;
  std::string method_;
  bool enable_ = true;
  Thresholds thresholds_;
  int64_t br_ = kBlock, bc_ = kBlock;
  double triton_threshold_ = kTritonThreshold;
  int64_t n_ = 2, m_ = 4;
  int64_t sink_tokens_ = 0, recent_tokens_ = kRecentTokens;
  bool skip_diagonal_blocks_ = true;
};

}  // namespace

bool IsModelOpt(const Json& document) {
  return document.is_object() && document.contains("sparse_cfg");
}

Json ImportModelOpt(const Json& document) {
  ObjectReader top(document, "");
  const Json& config = top.Get("sparse_cfg", "patterns and their attributes");
  if (const Json* format = top.Find("export_format")) {
    Require(format->is_null(), "export_format: {} has no effect here; remove the key",
            Show(*format));
  }
  top.Finish();
  Require(config.is_object(), "sparse_cfg: {} is not an object; write {{pattern: {{...}}}}",
          Show(config));

  // What stays where "default" is absent: modules are wrapped, enabled, with every default.
  Phases defaults = Attributes(Json::object(), "sparse_cfg").Translate();
  Json entries = Json::array();
  for (const auto& item : config.items()) {
    const std::string path = JoinPath("sparse_cfg", Quote(item.key()));
    Require(item.key() != "calibration",
            "sparse_cfg.calibration: needs a calibration run over the model; run `tamis calibrate` "
            "(planned) and use the policy it writes, or remove the key and give thresholds");
    Phases phases = Attributes(item.value(), path).Translate();
    if (item.key() == "default") {
      defaults = std::move(phases);
      continue;
    }
    entries.push_back({{"match", item.key()},
                       {"prefill", std::move(phases.prefill)},
                       {"decode", std::move(phases.decode)}});
  }
  return {{"schema_version", kPolicySchemaVersion},
          {"default",
           {{"prefill", std::move(defaults.prefill)}, {"decode", std::move(defaults.decode)}}},
          {"entries", std::move(entries)}};
}

}  // namespace tamis::policy
