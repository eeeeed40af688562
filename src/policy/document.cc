// A whole policy document: name, backend, defaults, entries.
#include "policy/document.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "policy/json_reader.h"

namespace tamis::policy {
namespace {

constexpr size_t kMaxEntries = 1024;
constexpr size_t kMaxPatterns = 1024;
constexpr size_t kMaxPatternBytes = 512;
constexpr size_t kMaxNameBytes = 200;

std::string ReadName(const Json& value, const std::string& path) {
  const std::string& name = ReadString(value, path);
  const bool printable = std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  Require(!name.empty() && name.size() <= kMaxNameBytes && printable,
          "{}: {} is no name; give 1 to {} printable characters", path, Show(value), kMaxNameBytes);
  return name;
}

Backend ReadBackend(ObjectReader& reader) {
  const std::string word = reader.Word("backend", {"auto", "cpu", "cuda"});
  if (word == "cpu") return Backend::kCpu;
  if (word != "cuda") return Backend::kAuto;
  Require(!PublishedGeometries(Device::kCuda, Phase::kPrefill).empty(),
          "{}: \"cuda\" cannot run: this build of tamis has no CUDA executor; give \"auto\" or "
          "\"cpu\"",
          reader.Path("backend"));
  return Backend::kCuda;
}

std::vector<std::string> ReadPatterns(const Json& value, const std::string& path) {
  std::vector<std::string> patterns;
  const auto add = [&](const Json& item, const std::string& at) {
    const std::string& pattern = ReadString(item, at);
    Require(!pattern.empty() && pattern.size() <= kMaxPatternBytes,
            "{}: {} is no pattern; give 1 to {} characters such as \"model.layers.7.self_attn\" or "
            "\"*.layers.[0-3].*\"",
            at, Show(item), kMaxPatternBytes);
    patterns.push_back(pattern);
  };
  if (!value.is_array()) {
    add(value, path);
    return patterns;
  }
  Require(!value.empty() && value.size() <= kMaxPatterns,
          "{}: a list of {} patterns; give 1 to {}, or leave the key out to match every layer",
          path, value.size(), kMaxPatterns);
  for (size_t i = 0; i < value.size(); ++i) add(value[i], JoinPath(path, std::to_string(i)));
  return patterns;
}

// "4-7" or an integer to an inclusive range.
std::pair<int32_t, int32_t> ReadHeadRange(const Json& value, const std::string& path) {
  if (value.is_number_integer()) {
    const auto head = static_cast<int32_t>(ReadInteger(value, path, 0, kMaxHeads - 1));
    return {head, head};
  }
  const auto parse = [](std::string_view digits) {
    if (digits.empty() || digits.size() > 4) return -1;
    int number = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') return -1;
      number = number * 10 + (c - '0');
    }
    return number;
  };
  int first = -1, last = -1;
  if (value.is_string()) {
    const std::string_view text = value.get_ref<const std::string&>();
    const size_t dash = text.find('-');
    if (dash != std::string_view::npos) {
      first = parse(text.substr(0, dash));
      last = parse(text.substr(dash + 1));
    }
  }
  Require(0 <= first && first <= last && last < kMaxHeads,
          "{}: {} is no head; give a number or an ascending range such as \"4-7\", below {}", path,
          Show(value), kMaxHeads);
  return {first, last};
}

std::vector<int32_t> ReadHeads(const Json& value, const std::string& path) {
  Require(value.is_array() && !value.empty(),
          "{}: {} is no list of heads; give one such as [0, \"4-7\"], or leave the key out for "
          "every head",
          path, Show(value));
  std::vector<bool> named(kMaxHeads);
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string at = JoinPath(path, std::to_string(i));
    const auto [first, last] = ReadHeadRange(value[i], at);
    for (int32_t h = first; h <= last; ++h) {
      Require(!named[h], "{}: head {} is named twice; name it once", at, h);
      named[h] = true;
    }
  }
  std::vector<int32_t> heads;
  for (int32_t h = 0; h < kMaxHeads; ++h) {
    if (named[h]) heads.push_back(h);
  }
  return heads;
}

void ReadWhen(const Json& value, const std::string& path, Entry& entry) {
  ObjectReader reader(value, path);
  Require(reader.Has("min_tokens") || reader.Has("max_tokens"),
          "{}: {} says nothing; give min_tokens, max_tokens or both", path, Show(value));
  entry.min_tokens = static_cast<int32_t>(reader.Integer("min_tokens", 0, 0, kMaxTokens));
  entry.max_tokens = static_cast<int32_t>(reader.Integer("max_tokens", INT32_MAX, 0, kMaxTokens));
  reader.Finish();
  Require(entry.min_tokens <= entry.max_tokens,
          "{}: min_tokens {} is above max_tokens {}; no length satisfies both", path,
          entry.min_tokens, entry.max_tokens);
}

Entry ReadEntry(const Json& value, Backend backend, const std::string& path) {
  Entry entry;
  ObjectReader reader(value, path);
  if (const Json* match = reader.Find("match")) {
    entry.match = ReadPatterns(*match, reader.Path("match"));
  }
  if (const Json* heads = reader.Find("heads")) {
    entry.heads = ReadHeads(*heads, reader.Path("heads"));
  }
  if (const Json* when = reader.Find("when")) ReadWhen(*when, reader.Path("when"), entry);
  if (const Json* prefill = reader.Find("prefill")) {
    entry.prefill = ReadPhase(*prefill, Phase::kPrefill, backend, reader.Path("prefill"));
  }
  if (const Json* decode = reader.Find("decode")) {
    entry.decode = ReadPhase(*decode, Phase::kDecode, backend, reader.Path("decode"));
  }
  reader.Finish();
  Require(entry.prefill || entry.decode,
          "{}: the entry changes nothing; give prefill, decode or both ({{}} is dense)", path);
  return entry;
}

// Runs of heads as the format writes them.
Json WriteHeads(const std::vector<int32_t>& heads) {
  Json out = Json::array();
  for (size_t i = 0; i < heads.size();) {
    size_t end = i + 1;
    while (end < heads.size() && heads[end] == heads[end - 1] + 1) ++end;
    if (end - i == 1) {
      out.push_back(heads[i]);
    } else {
      out.push_back(fmt::format("{}-{}", heads[i], heads[end - 1]));
    }
    i = end;
  }
  return out;
}

Json WriteEntry(const Entry& entry) {
  Json out = Json::object();
  if (entry.match.size() == 1) {
    out["match"] = entry.match[0];
  } else if (!entry.match.empty()) {
    out["match"] = entry.match;
  }
  if (!entry.heads.empty()) out["heads"] = WriteHeads(entry.heads);
  if (entry.min_tokens > 0 || entry.max_tokens < INT32_MAX) {
    Json when = {{"min_tokens", entry.min_tokens}};
    if (entry.max_tokens < INT32_MAX) when["max_tokens"] = entry.max_tokens;
    out["when"] = when;
  }
  if (entry.prefill) out["prefill"] = WritePhase(*entry.prefill);
  if (entry.decode) out["decode"] = WritePhase(*entry.decode);
  return out;
}

}  // namespace

Policy::Document ReadDocument(const Json& value) {
  Policy::Document document;
  ObjectReader reader(value, "");
  const int64_t version =
      reader.Integer("schema_version", kPolicySchemaVersion, INT32_MIN, INT32_MAX);
  Require(version == kPolicySchemaVersion, "schema_version: {} is not known; this tamis reads {}",
          version, kPolicySchemaVersion);
  if (const Json* name = reader.Find("name")) document.name = ReadName(*name, "name");
  document.backend = ReadBackend(reader);
  if (const Json* defaults = reader.Find("default")) {
    ObjectReader phases(*defaults, "default");
    if (const Json* prefill = phases.Find("prefill")) {
      document.prefill =
          ReadPhase(*prefill, Phase::kPrefill, document.backend, phases.Path("prefill"));
    }
    if (const Json* decode = phases.Find("decode")) {
      document.decode = ReadPhase(*decode, Phase::kDecode, document.backend, phases.Path("decode"));
    }
    phases.Finish();
  }
  if (const Json* entries = reader.Find("entries")) {
    Require(entries->is_array() && entries->size() <= kMaxEntries,
            "entries: {} is not a list of at most {} entries", Show(*entries), kMaxEntries);
    for (size_t i = 0; i < entries->size(); ++i) {
      document.entries.push_back(
          ReadEntry((*entries)[i], document.backend, JoinPath("entries", std::to_string(i))));
    }
  }
  reader.Finish();
  return document;
}

Json WriteDocument(const Policy::Document& document) {
  constexpr std::string_view kBackends[] = {"auto", "cpu", "cuda"};
  Json entries = Json::array();
  for (const Entry& entry : document.entries) entries.push_back(WriteEntry(entry));
  return {{"schema_version", kPolicySchemaVersion},
          {"name", document.name},
          {"backend", kBackends[static_cast<int>(document.backend)]},
          {"default",
           {{"prefill", WritePhase(document.prefill)}, {"decode", WritePhase(document.decode)}}},
          {"entries", entries}};
}

}  // namespace tamis::policy
