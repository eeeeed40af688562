#include "policy/overrides.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace tamis::policy {
namespace {

std::vector<std::string> SplitPath(std::string_view key, const std::string& shown) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    parts.emplace_back(key.substr(begin, end - begin));
    Require(!parts.back().empty() && parts.size() < kMaxPolicyDepth,
            "override {}: {} is no key; write a dotted path such as prefill.selector.threshold",
            shown, Quote(key));
    begin = end + 1;
  }
  if (parts[0] == "prefill" || parts[0] == "decode") parts.insert(parts.begin(), "default");
  return parts;
}

// JSON, or else the text itself where it does not look like JSON gone wrong.
Json ReadValue(std::string_view text, const std::string& shown) {
  const bool structured =
      !text.empty() && std::string_view("{[\"").find(text[0]) != std::string_view::npos;
  try {
    return ParseJsonText(text);
  } catch (const Error& error) {
    Require(!structured, "override {}: {}", shown, error.what());
    Json word = std::string(text);
    try {
      word.dump();
    } catch (const Json::type_error&) {
      Fail("override {}: the value is not UTF-8", shown);
    }
    return word;
  }
}

Json& Step(Json& at, const std::string& part, const std::string& shown) {
  if (at.is_object()) {
    const auto found = at.find(part);
    return found != at.end() ? *found : at[part] = Json::object();
  }
  Require(at.is_array(), "override {}: {} has no key {}; set a path that the document has", shown,
          Show(at), Quote(part));
  size_t index = 0;
  const auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), index);
  Require(status == std::errc() && end == part.data() + part.size() && index < at.size(),
          "override {}: {} is no item of a list of {}; give an index below that", shown,
          Quote(part), at.size());
  return at[index];
}

}  // namespace

void ApplyOverride(Json& document, std::string_view setting) {
  const std::string shown = Quote(setting);
  const size_t equals = setting.find('=');
  Require(equals != std::string_view::npos && equals > 0,
          "override {}: no key=value; write for example prefill.selector.threshold=0.8", shown);
  Json value = ReadValue(setting.substr(equals + 1), shown);
  Json* at = &document;
  for (const std::string& part : SplitPath(setting.substr(0, equals), shown)) {
    at = &Step(*at, part, shown);
  }
  *at = std::move(value);
}

}  // namespace tamis::policy
