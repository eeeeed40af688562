// How --help looks.
#ifndef TAMIS_CLI_HELP_H_
#define TAMIS_CLI_HELP_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tamis::cli {

/// Options in groups, one column of names, one of explanations wrapped to the terminal.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;

 private:
  std::string Entry(const std::string& name, const std::string& text) const;
  int columns_;
};

}  // namespace tamis::cli

#endif  // TAMIS_CLI_HELP_H_
