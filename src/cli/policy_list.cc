// tamis policy list: presets and the methods policies are made of.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "report/table.h"
#include "tamis/selector.h"

namespace tamis::cli {
namespace {

using Align = Column::Align;
using Json = nlohmann::ordered_json;

struct ListOptions {
  JsonFlag json;
};

void DeclareList(CLI::App& command, ListOptions& options) { options.json.Declare(command); }

std::string Range(const ParameterInfo& parameter) {
  switch (parameter.kind) {
    case ParameterInfo::Kind::kBoolean:
      return "true or false";
    case ParameterInfo::Kind::kChoice:
      return fmt::format("{}", fmt::join(parameter.choices, ", "));
    case ParameterInfo::Kind::kInteger:
    case ParameterInfo::Kind::kReal:
      return fmt::format("{} to {}", parameter.minimum, parameter.maximum);
  }
  return "";
}

std::string Text(const Terminal& terminal) {
  Table presets({{"preset", Align::kLeft}, {"what it computes", Align::kLeft}});
  for (const PresetInfo& preset : PolicyPresets()) {
    presets.AddRow({std::string(preset.name), std::string(preset.help)});
  }
  std::string out = presets.Render(terminal);
  for (const SelectorInfo& selector : Selectors()) {
    out += fmt::format("\nselector {}: {}\n{}\n", terminal.Bold(selector.name), selector.help,
                       terminal.Dim(selector.paper));
    Table parameters(
        {{"parameter", Align::kLeft}, {"default"}, {"values", Align::kLeft}, {"", Align::kLeft}});
    for (const ParameterInfo& parameter : selector.parameters) {
      parameters.AddRow({std::string(parameter.name), fmt::format("{}", parameter.default_value),
                         Range(parameter), std::string(parameter.help)});
    }
    out += parameters.Render(terminal);
  }
  return out;
}

Json ListJson() {
  Json json = Document("policy list");
  json["presets"] = Json::array();
  for (const PresetInfo& preset : PolicyPresets()) {
    json["presets"].push_back({{"name", preset.name}, {"help", preset.help}});
  }
  json["selectors"] = Json::array();
  for (const SelectorInfo& selector : Selectors()) {
    Json parameters = Json::array();
    for (const ParameterInfo& parameter : selector.parameters) {
      parameters.push_back({{"name", parameter.name},
                            {"default", parameter.default_value},
                            {"minimum", parameter.minimum},
                            {"maximum", parameter.maximum},
                            {"choices", parameter.choices},
                            {"per_head", parameter.per_head},
                            {"help", parameter.help}});
    }
    json["selectors"].push_back({{"name", selector.name},
                                 {"help", selector.help},
                                 {"paper", selector.paper},
                                 {"parameters", std::move(parameters)}});
  }
  return json;
}

int RunList(const ListOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  if (!sink || !sink->to_stdout()) Print(Text(Terminal::Of(STDOUT_FILENO)));
  if (sink) sink->Write(ListJson());
  return kOk;
}

}  // namespace

void RegisterPolicyList(CLI::App& policy, Action& action) {
  AddCommand<ListOptions>(policy, "list", "List presets and selectors with their parameters",
                          action, RunList, DeclareList);
}

}  // namespace tamis::cli
