// Policy: a specification in any of its forms to a checked document.
#include "tamis/policy.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/mapped_file.h"
#include "policy/document.h"
#include "policy/json_text.h"
#include "policy/modelopt.h"
#include "policy/overrides.h"
#include "policy/presets.h"

namespace tamis {
namespace {

using policy::Json;

struct Source {
  std::string label;  // for errors: "policy xattention"
  std::string name;   // where the document does not name itself
  std::string text;
};

Source FindSource(std::string_view spec) {
  const size_t first = spec.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && spec[first] == '{') {
    return {"policy", "custom", std::string(spec)};
  }
  const std::string_view preset = policy::PresetText(spec);
  if (!preset.empty()) {
    return {fmt::format("policy {}", spec), std::string(spec), std::string(preset)};
  }
  std::error_code unreadable;
  const bool plausible = !spec.empty() && spec.size() < 4096 &&
                         spec.find('\0') == std::string_view::npos &&
                         std::filesystem::is_regular_file(spec, unreadable);
  if (plausible) {
    const std::string path(spec);
    return {fmt::format("policy {}", policy::Quote(spec)), "custom",
            ReadFile(path, policy::kMaxPolicyBytes)};
  }
  std::vector<std::string> names;
  for (const PresetInfo& info : PolicyPresets()) names.emplace_back(info.name);
  Fail("policy {}: no preset and no file of that name{} (presets: {})", policy::Quote(spec),
       policy::Suggestion(spec, names), policy::JoinNames(names));
}

// "xattention (prefill.selector.threshold=0.8)": a table must not call a changed policy by the
// plain preset's name.
std::string NameWithOverrides(std::string name, std::span<const std::string> overrides) {
  constexpr size_t kLongest = 120;
  std::string list;
  for (const std::string& setting : overrides) {
    if (setting.starts_with("name=")) return name;
    list += (list.empty() ? "" : ", ") + setting;
  }
  const bool short_enough = name.size() + list.size() < kLongest;
  const bool printable = std::none_of(list.begin(), list.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (short_enough && printable) return fmt::format("{} ({})", name, list);
  if (name.size() > kLongest) name = "custom";
  return fmt::format("{} ({} settings)", name, overrides.size());
}

}  // namespace

Policy::Policy(std::shared_ptr<const Document> document) : document_(std::move(document)) {}

Policy Policy::Parse(std::string_view spec, std::span<const std::string> overrides) {
  const Source source = FindSource(spec);
  try {
    Json json = policy::ParseJsonText(source.text);
    if (policy::IsModelOpt(json)) json = policy::ImportModelOpt(json);
    Require(json.is_object(), "{} is not an object; write {{...}}", policy::Show(json));
    if (!json.contains("name")) json["name"] = source.name;
    for (const std::string& setting : overrides) policy::ApplyOverride(json, setting);
    Document document = policy::ReadDocument(json);
    if (!overrides.empty()) {
      document.name = NameWithOverrides(std::move(document.name), overrides);
    }
    return Policy(std::make_shared<const Document>(std::move(document)));
  } catch (const Error& error) {
    Fail("{}: {}", source.label, error.what());
  }
}

Policy Policy::Dense() {
  Document document;
  document.name = "dense";
  return Policy(std::make_shared<const Document>(std::move(document)));
}

const std::string& Policy::name() const { return document_->name; }

std::string Policy::ToJson() const { return policy::WriteDocument(*document_).dump(2); }

bool Policy::IsDense() const {
  const auto dense = [](const std::optional<policy::PhaseSpec>& spec) {
    return !spec || spec->IsDense();
  };
  return document_->prefill.IsDense() && document_->decode.IsDense() &&
         std::all_of(document_->entries.begin(), document_->entries.end(),
                     [&](const policy::Entry& e) { return dense(e.prefill) && dense(e.decode); });
}

}  // namespace tamis
