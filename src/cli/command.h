// What every command of the tool has in common.
#ifndef TAMIS_CLI_COMMAND_H_
#define TAMIS_CLI_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

namespace tamis::cli {

/// Exit statuses.
inline constexpr int kOk = 0;
inline constexpr int kInternalError = 1;
inline constexpr int kUserError = 2;
inline constexpr int kInterrupted = 130;

/// What the command line asks for; returns an exit status. Set by the command that was named.
using Action = std::function<int()>;

void RegisterRun(CLI::App& app, Action& action);
void RegisterCompare(CLI::App& app, Action& action);
void RegisterBenchAttention(CLI::App& bench, Action& action);
void RegisterBenchModel(CLI::App& bench, Action& action);
void RegisterInspect(CLI::App& app, Action& action);
void RegisterTokenize(CLI::App& app, Action& action);
void RegisterPolicyExplain(CLI::App& policy, Action& action);
void RegisterPolicyList(CLI::App& policy, Action& action);

/// Adds a subcommand whose options live as long as the parser.
template <typename Options>
CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& help,
                     Action& action, int (*run)(const Options&),
                     void (*declare)(CLI::App&, Options&)) {
  CLI::App* command = parent.add_subcommand(name, help);
  auto options = std::make_shared<Options>();
  declare(*command, *options);
  command->final_callback(
      [options, &action, run] { action = [options, run] { return run(*options); }; });
  return command;
}

}  // namespace tamis::cli

#endif  // TAMIS_CLI_COMMAND_H_
