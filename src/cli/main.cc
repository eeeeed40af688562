// tamis: the command-line tool.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "tamis/cpu_isa.h"
#include "tamis/error.h"

namespace tamis::cli {
namespace {

std::string Version() {
  return fmt::format("tamis {} ({} build, {})\n{}, {}", TAMIS_VERSION, TAMIS_BUILD_TYPE,
                     TAMIS_COMPILER, CpuModelName(), Name(DetectCpuIsa()));
}

void Declare(CLI::App& app, Action& action) {
  app.set_version_flag("--version", Version, "Version, build and what this machine runs");
  app.option_defaults()->always_capture_default();
  app.formatter(std::make_shared<HelpFormatter>());
  app.name("tamis");
  app.require_subcommand(1);
  // A script's defaults may be followed by what its user wants instead.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

  RegisterRun(app, action);
  RegisterCompare(app, action);
  CLI::App* bench = app.add_subcommand("bench", "Measure attention alone, or a whole model");
  bench->require_subcommand(1);
  RegisterBenchAttention(*bench, action);
  RegisterBenchModel(*bench, action);
  RegisterInspect(app, action);
  RegisterTokenize(app, action);
  CLI::App* policy = app.add_subcommand("policy", "List policies, or explain one");
  policy->require_subcommand(1);
  RegisterPolicyExplain(*policy, action);
  RegisterPolicyList(*policy, action);

  app.footer(R"(Examples:
  tamis run --model model.gguf --prompt "Why is the sky blue?"
  tamis run --model model.gguf --prompt-file novel.txt --policy xattention
  tamis compare --model model.gguf --prompt-file novel.txt --policy xattention --policy streaming
  tamis policy list
  tamis run --help)");
}

/// The message of a parse error, on one line.
std::string Message(const CLI::ParseError& error, const CLI::App& named, int argc, char** argv) {
  // CLI11 says only that a command is missing where one was misspelt.
  const bool misses_command = named.get_require_subcommand_min() > 0;
  int depth = 1;
  for (const CLI::App* app = named.get_parent(); app != nullptr; app = app->get_parent()) ++depth;
  if (misses_command && argc > depth && argv[depth][0] != '-') {
    std::vector<std::string> names;
    for (const CLI::App* command : named.get_subcommands({})) names.push_back(command->get_name());
    return fmt::format("unknown command '{}'; use one of {}", argv[depth], fmt::join(names, ", "));
  }
  std::string message = error.what();
  std::replace(message.begin(), message.end(), '\n', ' ');
  return message;
}

const CLI::App& Deepest(const CLI::App& app) {
  const auto named = app.get_subcommands();
  return named.empty() ? app : Deepest(*named[0]);
}

std::string FullName(const CLI::App& app) {
  return app.get_parent() == nullptr ? "tamis" : FullName(*app.get_parent()) + ' ' + app.get_name();
}

int Main(int argc, char** argv) {
  Action action;
  CLI::App app(
      "Sparse attention for long-context language models: run a model dense or under a\n"
      "policy, and see what was skipped, what it gained and what it cost.");
  Declare(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success) == 0 ? kOk : kInternalError;
  } catch (const CLI::ParseError& error) {
    const CLI::App& named = Deepest(app);
    if (argc == 1) fmt::print(stderr, "{}\n", app.help());
    fmt::print(stderr, "error: {}; see {} --help\n", Message(error, named, argc, argv),
               FullName(named));
    return kUserError;
  }
  return action();
}

}  // namespace
}  // namespace tamis::cli

int main(int argc, char** argv) {
  try {
    const int status = tamis::cli::Main(argc, argv);
    tamis::cli::Print("");  // reports output that a full disk swallowed
    return status;
  } catch (const tamis::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return tamis::cli::kUserError;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory; try a shorter context, or --dtype bf16\n");
    return tamis::cli::kUserError;
  } catch (const std::exception& error) {
    fmt::print(stderr, "internal error: {}; please report it with the command line\n",
               error.what());
    return tamis::cli::kInternalError;
  }
}
