// tamis policy explain: what each layer and head resolves to.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/command.h"
#include "cli/flags.h"

namespace tamis::cli {
namespace {

struct ExplainOptions {
  std::string policy;
  std::vector<std::string> settings;
  std::string model;
  int32_t layers = 32;
  int32_t q_heads = 32;
  int32_t kv_heads = 8;
  int32_t head_dim = 128;
  int32_t tokens = 8192;
  std::string device = "cpu";
  JsonFlag json;
};

void DeclareExplain(CLI::App& command, ExplainOptions& options) {
  command.add_option("--policy", options.policy, "Preset[,key=value...], file or inline JSON")
      ->type_name("SPEC")
      ->required();
  command.add_option("--set", options.settings, "Change the policy; repeatable")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::Option* model = command.add_option("--model", options.model, "Checkpoint to resolve it for")
                           ->type_name("PATH");
  const auto shape = [&](const char* name, int32_t& value, const char* help, int32_t most) {
    command.add_option(name, value, help)
        ->type_name("N")
        ->check(CLI::Range(1, most))
        ->excludes(model);
  };
  shape("--layers", options.layers, "Layers, where there is no checkpoint", 10000);
  shape("--q-heads", options.q_heads, "Query heads of a layer", 1024);
  shape("--kv-heads", options.kv_heads, "KV heads of a layer", 1024);
  shape("--head-dim", options.head_dim, "Dimensions of a head", 256);
  command.add_option("--tokens", options.tokens, "Length to resolve it at")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 28));
  command.add_option("--device", options.device, "cpu or cuda")->type_name("NAME");
  options.json.Declare(command);
  command.footer(R"(Examples:
  tamis policy explain --policy xattention
  tamis policy explain --policy policy.json --model model.gguf --tokens 32768
  tamis policy explain --policy skip-softmax --set prefill.skip_softmax.threshold=0.01)");
}

PolicyTarget Target(const ExplainOptions& options) {
  PolicyTarget target{{}, options.q_heads, options.kv_heads, options.head_dim};
  int32_t layers = options.layers;
  if (!options.model.empty()) {
    const ModelConfig config = InspectCheckpoint(options.model).config;
    target = {{}, config.q_heads, config.kv_heads, config.head_dim};
    layers = config.layers;
  }
  Require(target.q_heads % target.kv_heads == 0,
          "--kv-heads {} does not divide --q-heads {}; every KV head serves as many query heads",
          target.kv_heads, target.q_heads);
  for (int32_t layer = 0; layer < layers; ++layer) {
    target.modules.push_back(fmt::format("model.layers.{}.self_attn", layer));
  }
  return target;
}

int RunExplain(const ExplainOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const NamedPolicy policy = ParsePolicy(options.policy, options.settings);
  const PolicyTarget target = Target(options);
  const std::string table =
      ExplainPolicy(policy.policy, target, options.tokens, ParseDevice(options.device));
  if (!sink || !sink->to_stdout()) {
    Print(fmt::format("{} on {} layers of {} query and {} KV heads, at {} tokens\n\n{}",
                      policy.label, target.modules.size(), target.q_heads, target.kv_heads,
                      options.tokens, table));
  }
  if (sink) {
    nlohmann::ordered_json json = Document("policy explain");
    json["policy"] = policy.label;
    json["policy_document"] = nlohmann::ordered_json::parse(policy.policy.ToJson());
    json["layers"] = target.modules.size();
    json["q_heads"] = target.q_heads;
    json["kv_heads"] = target.kv_heads;
    json["head_dim"] = target.head_dim;
    json["tokens"] = options.tokens;
    json["explanation"] = table;
    sink->Write(json);
  }
  return kOk;
}

}  // namespace

void RegisterPolicyExplain(CLI::App& policy, Action& action) {
  AddCommand<ExplainOptions>(policy, "explain", "Show what each layer and head resolves to", action,
                             RunExplain, DeclareExplain);
}

}  // namespace tamis::cli
