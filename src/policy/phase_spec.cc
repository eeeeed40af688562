// One phase of a policy: {"selector": ..., "skip_softmax": ..., "n_of_m": ...}.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "policy/document.h"
#include "policy/json_reader.h"

namespace tamis::policy {
namespace {

constexpr double kMaxScaleFactor = 1e12;

std::string Describe(const ParameterInfo& info) {
  switch (info.kind) {
    case ParameterInfo::Kind::kBoolean:
      return "true or false";
    case ParameterInfo::Kind::kChoice:
      return fmt::format("one of {}", fmt::join(info.choices, ", "));
    case ParameterInfo::Kind::kInteger:
      return fmt::format("an integer from {} to {}", info.minimum, info.maximum);
    case ParameterInfo::Kind::kReal:
      break;
  }
  return fmt::format("a number from {} to {}", info.minimum, info.maximum);
}

double ReadParameter(const ParameterInfo& info, const Json& value, const std::string& path) {
  using Kind = ParameterInfo::Kind;
  if (info.kind == Kind::kBoolean) return ReadBoolean(value, path) ? 1.0 : 0.0;
  const bool typed = info.kind == Kind::kInteger ? value.is_number_integer() : value.is_number();
  Require(typed, "{}: {} is not {}", path, Show(value), Describe(info));
  const auto number = value.get<double>();
  const bool valid =
      info.kind == Kind::kChoice
          ? std::find(info.choices.begin(), info.choices.end(), number) != info.choices.end()
          : info.minimum <= number && number <= info.maximum;
  Require(valid, "{}: {} is out of range; give {}", path, Show(value), Describe(info));
  return number;
}

std::vector<double> ReadParameterValues(const ParameterInfo& info, const Json& value,
                                        const std::string& path) {
  if (!value.is_array()) return {ReadParameter(info, value, path)};
  Require(info.per_head, "{}: {} is a list, but the parameter is one for all heads; give {}", path,
          Show(value), Describe(info));
  Require(2 <= value.size() && value.size() <= kMaxHeads,
          "{}: a list of {} values; a list has one value per query head of the layer (give a plain "
          "value for all)",
          path, value.size());
  std::vector<double> values;
  for (size_t h = 0; h < value.size(); ++h) {
    values.push_back(ReadParameter(info, value[h], JoinPath(path, std::to_string(h))));
  }
  return values;
}

SelectorSpec ReadSelector(const Json& value, const std::string& path) {
  ObjectReader reader(value, path);
  std::vector<std::string> known;
  for (const SelectorInfo& info : Selectors()) known.emplace_back(info.name);
  const std::string& type = ReadString(
      reader.Get("type", "the selector's name: " + JoinNames(known)), reader.Path("type"));
  Require(std::find(known.begin(), known.end(), type) != known.end(),
          "{}: there is no selector {}{} (known: {})", reader.Path("type"), Quote(type),
          Suggestion(type, known), JoinNames(known));

  SelectorSpec spec{type, {}};
  for (const ParameterInfo& info : FindSelector(type).parameters) {
    const Json* given = reader.Find(info.name);
    spec.values.emplace(info.name, given == nullptr
                                       ? std::vector<double>{info.default_value}
                                       : ReadParameterValues(info, *given, reader.Path(info.name)));
  }
  reader.Finish();
  try {
    // What single parameters cannot show: combinations the method refuses.
    MakeSelector(type, spec.values);
  } catch (const Error& error) {
    Fail("{}: {}", path, error.what());
  }
  return spec;
}

Json WriteSelector(const SelectorSpec& spec) {
  Json out = {{"type", spec.type}};
  for (const ParameterInfo& info : FindSelector(spec.type).parameters) {
    const auto write = [&](double value) -> Json {
      if (info.kind == ParameterInfo::Kind::kBoolean) return value != 0.0;
      if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
      return value;
    };
    const std::vector<double>& values = spec.values.find(info.name)->second;
    Json list = Json::array();
    for (double value : values) list.push_back(write(value));
    out[std::string(info.name)] = values.size() == 1 ? list[0] : list;
  }
  return out;
}

std::string_view VoteName(SkipVote vote) {
  return vote == SkipVote::kQueryHead ? "query_head" : "gqa_group";
}

TileGeometry ReadGeometry(const Json& value, Phase phase, const std::string& path) {
  TileGeometry geometry = DefaultGeometry(phase);
  ObjectReader reader(value, path);
  geometry.tile_rows =
      static_cast<int32_t>(reader.Integer("br", geometry.tile_rows, 1, kMaxTokens));
  geometry.tile_columns =
      static_cast<int32_t>(reader.Integer("bc", geometry.tile_columns, 1, kMaxTokens));
  const std::string vote = reader.Word("vote", {"query_head", "gqa_group"});
  if (vote == "query_head") geometry.vote = SkipVote::kQueryHead;
  if (vote == "gqa_group") geometry.vote = SkipVote::kGqaGroup;
  geometry.splits = static_cast<int32_t>(reader.Integer("splits", geometry.splits, 1, kMaxTokens));
  const std::string order = reader.Word("order", {"ascending", "descending"});
  if (order == "ascending") geometry.order = KeyOrder::kAscending;
  if (order == "descending") geometry.order = KeyOrder::kDescending;
  reader.Finish();
  return geometry;
}

SkipSoftmaxSpec ReadSkipSoftmax(const Json& value, Phase phase, Backend backend,
                                const std::string& path) {
  SkipSoftmaxSpec spec;
  ObjectReader reader(value, path);
  const Json* threshold = reader.Find("threshold");
  const Json* scale = reader.Find("scale_factor");
  const Json* max_lambda = reader.Find("max_lambda");
  Require((threshold == nullptr) != (scale == nullptr),
          "{}: {}; give one of threshold (lambda itself) and scale_factor (lambda = scale_factor / "
          "keys)",
          path,
          threshold == nullptr ? "threshold and scale_factor are both missing"
                               : "threshold and scale_factor are both given");
  if (threshold != nullptr) {
    spec.threshold = ReadReal(*threshold, reader.Path("threshold"));
    CheckThreshold(spec.threshold, reader.Path("threshold"), /*zero_allowed=*/true);
  } else {
    spec.scale_factor = ReadReal(*scale, reader.Path("scale_factor"));
    Require(*spec.scale_factor > 0.0 && *spec.scale_factor <= kMaxScaleFactor,
            "{}: {} is out of range; give a number above 0, at most {}, such as 100",
            reader.Path("scale_factor"), Show(*scale), kMaxScaleFactor);
  }
  if (max_lambda != nullptr) {
    Require(scale != nullptr, "{}: goes with scale_factor only; remove it beside threshold",
            reader.Path("max_lambda"));
    spec.max_lambda = ReadReal(*max_lambda, reader.Path("max_lambda"));
    CheckThreshold(*spec.max_lambda, reader.Path("max_lambda"), /*zero_allowed=*/false);
  }
  const Json* geometry = reader.Find("geometry");
  spec.geometry = geometry == nullptr ? DefaultGeometry(phase)
                                      : ReadGeometry(*geometry, phase, reader.Path("geometry"));
  reader.Finish();
  CheckGeometry(spec.geometry, phase, backend, reader.Path("geometry"));
  return spec;
}

Json WriteSkipSoftmax(const SkipSoftmaxSpec& spec) {
  Json out = Json::object();
  if (spec.scale_factor) {
    out["scale_factor"] = *spec.scale_factor;
  } else {
    out["threshold"] = spec.threshold;
  }
  if (spec.max_lambda) out["max_lambda"] = *spec.max_lambda;
  out["geometry"] = {
      {"br", spec.geometry.tile_rows},
      {"bc", spec.geometry.tile_columns},
      {"vote", VoteName(spec.geometry.vote)},
      {"splits", spec.geometry.splits},
      {"order", spec.geometry.order == KeyOrder::kAscending ? "ascending" : "descending"}};
  return out;
}

NOfMSpec ReadNOfM(const Json& value, const std::string& path) {
  NOfMSpec spec;
  ObjectReader reader(value, path);
  const auto n = ReadInteger(reader.Get("n", "how many of each m keys stay"), reader.Path("n"),
                             INT32_MIN, INT32_MAX);
  const auto m = ReadInteger(reader.Get("m", "the size of a group: 2, 4 or 8"), reader.Path("m"),
                             INT32_MIN, INT32_MAX);
  Require(m == 2 || m == 4 || m == 8, "{}: {} is out of range; groups have 2, 4 or 8 keys",
          reader.Path("m"), m);
  Require(1 <= n && n < m, "{}: {} of {} is impossible; give n from 1 to {}", reader.Path("n"), n,
          m, m - 1);
  spec.n = static_cast<int32_t>(n);
  spec.m = static_cast<int32_t>(m);
  spec.sink_tokens = static_cast<int32_t>(reader.Integer("sink_tokens", 0, 0, kMaxTokens));
  spec.recent_tokens = static_cast<int32_t>(reader.Integer("recent_tokens", 0, 0, kMaxTokens));
  spec.skip_diagonal_blocks = reader.Boolean("skip_diagonal_blocks", false);
  reader.Finish();
  return spec;
}

Json WriteNOfM(const NOfMSpec& spec) {
  return {{"n", spec.n},
          {"m", spec.m},
          {"sink_tokens", spec.sink_tokens},
          {"recent_tokens", spec.recent_tokens},
          {"skip_diagonal_blocks", spec.skip_diagonal_blocks}};
}

}  // namespace

double SkipSoftmaxSpec::Lambda(int64_t keys) const {
  if (!scale_factor) return threshold;
  if (keys <= 0) return 0.0;
  const double lambda = *scale_factor / static_cast<double>(keys);
  return lambda >= 1.0 || !max_lambda ? lambda : std::min(lambda, *max_lambda);
}

TileGeometry DefaultGeometry(Phase phase) {
  TileGeometry geometry;
  if (phase == Phase::kDecode) {
    geometry.tile_rows = 1;
    geometry.vote = SkipVote::kGqaGroup;
  }
  return geometry;
}

std::string Describe(const TileGeometry& geometry, Phase phase) {
  std::string text = fmt::format("{}x{}", geometry.tile_rows, geometry.tile_columns);
  const TileGeometry usual = DefaultGeometry(phase);
  if (geometry.vote != usual.vote) text += fmt::format(" vote {}", VoteName(geometry.vote));
  if (geometry.splits != usual.splits) text += fmt::format(" splits {}", geometry.splits);
  if (geometry.order != usual.order) text += " order descending";
  return text;
}

void CheckGeometry(const TileGeometry& geometry, Phase phase, Backend backend,
                   const std::string& path) {
  std::vector<TileGeometry> published;
  for (Device device : {Device::kCpu, Device::kCuda}) {
    if (backend == (device == Device::kCpu ? Backend::kCuda : Backend::kCpu)) continue;
    for (const TileGeometry& g : PublishedGeometries(device, phase)) published.push_back(g);
  }
  if (std::find(published.begin(), published.end(), geometry) != published.end()) return;
  std::vector<std::string> names;
  for (const TileGeometry& g : published) names.push_back(Describe(g, phase));
  Fail("{}: no executor runs {} in {}; br x bc that run: {}", path, Describe(geometry, phase),
       phase == Phase::kPrefill ? "prefill" : "decode", JoinNames(names));
}

PhaseSpec ReadPhase(const Json& value, Phase phase, Backend backend, const std::string& path) {
  PhaseSpec spec;
  ObjectReader reader(value, path);
  if (const Json* selector = reader.Find("selector")) {
    spec.selector = ReadSelector(*selector, reader.Path("selector"));
  }
  if (const Json* skip = reader.Find("skip_softmax")) {
    spec.skip_softmax = ReadSkipSoftmax(*skip, phase, backend, reader.Path("skip_softmax"));
  }
  if (const Json* n_of_m = reader.Find("n_of_m")) {
    spec.n_of_m = ReadNOfM(*n_of_m, reader.Path("n_of_m"));
  }
  reader.Finish();
  return spec;
}

Json WritePhase(const PhaseSpec& spec) {
  Json out = Json::object();
  if (spec.selector) out["selector"] = WriteSelector(*spec.selector);
  if (spec.skip_softmax) out["skip_softmax"] = WriteSkipSoftmax(*spec.skip_softmax);
  if (spec.n_of_m) out["n_of_m"] = WriteNOfM(*spec.n_of_m);
  return out;
}

}  // namespace tamis::policy
