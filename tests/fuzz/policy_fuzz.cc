// Policy::Parse on hostile text: a document (or preset name), then overrides, separated by zero
// bytes. It may only throw Error; what it accepts must survive a round trip and an explanation.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/error.h"
#include "tamis/policy.h"

namespace {

bool IsPreset(std::string_view spec) {
  for (const tamis::PresetInfo& info : tamis::PolicyPresets()) {
    if (info.name == spec) return true;
  }
  return false;
}

void Check(bool condition, const char* what, const std::string& text) {
  if (condition) return;
  std::fprintf(stderr, "%s: %s\n", what, text.c_str());
  std::abort();
}

bool IsOneLine(std::string_view message) { return message.find('\n') == std::string_view::npos; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= input.size() && parts.size() < 8;) {
    const size_t end = std::min(input.find('\0', begin), input.size());
    parts.emplace_back(input.substr(begin, end - begin));
    begin = end + 1;
  }
  const std::string spec = parts[0];
  // Anything else would be read as the path of a file.
  if (!spec.starts_with('{') && !IsPreset(spec)) return 0;
  parts.erase(parts.begin());

  static const tamis::PolicyTarget target = {
      .modules = {"model.layers.0.self_attn", "model.layers.1.self_attn"},
      .q_heads = 6,
      .kv_heads = 2,
      .head_dim = 64};
  try {
    const tamis::Policy policy = tamis::Policy::Parse(spec, parts);
    const std::string json = policy.ToJson();
    try {
      Check(tamis::Policy::Parse(json).ToJson() == json, "round trip changed", json);
    } catch (const tamis::Error& error) {
      Check(false, error.what(), json);
    }
    tamis::ExplainPolicy(policy, target, 4096, tamis::Device::kCpu);
  } catch (const tamis::Error& error) {
    Check(IsOneLine(error.what()), "message of several lines", error.what());
  }
  return 0;
}
