// The list of selectors, and the checking of their parameters.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/check.h"
#include "select/streaming.h"
#include "select/xattention.h"
#include "tamis/selector.h"

namespace tamis {
namespace {

/// "0 to 1", "0 or 1", "4, 8, 16".
std::string ValidValues(const ParameterInfo& parameter) {
  switch (parameter.kind) {
    case ParameterInfo::Kind::kReal:
      return fmt::format("{} to {}", parameter.minimum, parameter.maximum);
    case ParameterInfo::Kind::kInteger:
      return fmt::format("a whole number from {} to {}", parameter.minimum, parameter.maximum);
    case ParameterInfo::Kind::kBoolean:
      return "0 or 1";
    case ParameterInfo::Kind::kChoice:
      return fmt::format("one of {}", fmt::join(parameter.choices, ", "));
  }
  return "";
}

bool IsValid(const ParameterInfo& parameter, double value) {
  switch (parameter.kind) {
    case ParameterInfo::Kind::kReal:
      return value >= parameter.minimum && value <= parameter.maximum;  // false for NaN
    case ParameterInfo::Kind::kInteger:
      return value >= parameter.minimum && value <= parameter.maximum && std::floor(value) == value;
    case ParameterInfo::Kind::kBoolean:
      return value == 0.0 || value == 1.0;
    case ParameterInfo::Kind::kChoice:
      return std::ranges::find(parameter.choices, value) != parameter.choices.end();
  }
  return false;
}

}  // namespace

std::span<const SelectorInfo> Selectors() {
  static const std::array<SelectorInfo, 2> selectors = {StreamingInfo(), XAttentionInfo()};
  return selectors;
}

const SelectorInfo& FindSelector(std::string_view name) {
  std::vector<std::string_view> names;
  for (const SelectorInfo& selector : Selectors()) {
    if (selector.name == name) return selector;
    names.push_back(selector.name);
  }
  Fail("unknown selector '{}'; use one of {}", name, fmt::join(names, ", "));
}

std::unique_ptr<Selector> MakeSelector(std::string_view name, const ParameterValues& values) {
  const SelectorInfo& selector = FindSelector(name);
  for (const auto& [key, given] : values) {
    const auto parameter = std::ranges::find(selector.parameters, key, &ParameterInfo::name);
    if (parameter == selector.parameters.end()) {
      std::vector<std::string_view> names;
      for (const ParameterInfo& known : selector.parameters) names.push_back(known.name);
      Fail("{} has no parameter '{}'; it has {}", name, key, fmt::join(names, ", "));
    }
    Require(!given.empty(), "{} parameter {} has no value; give {}", name, key,
            ValidValues(*parameter));
    Require(given.size() == 1 || parameter->per_head,
            "{} parameter {} has {} values; it takes one for all heads", name, key, given.size());
    for (double value : given) {
      Require(IsValid(*parameter, value), "{} parameter {} is {}; give {}", name, key, value,
              ValidValues(*parameter));
    }
  }
  ParameterValues complete = values;
  for (const ParameterInfo& parameter : selector.parameters) {
    complete.try_emplace(std::string(parameter.name), 1, parameter.default_value);
  }
  return selector.make(complete);
}

}  // namespace tamis
