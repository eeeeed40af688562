#include "cli/help.h"

#include <fmt/format.h>
#include <unistd.h>

#include "report/terminal.h"
#include "report/text_width.h"

namespace tamis::cli {
namespace {

constexpr int kNameColumns = 24;

}  // namespace

HelpFormatter::HelpFormatter() : columns_(Terminal::Of(STDOUT_FILENO).columns) {}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  return '\n' + CLI::Formatter::make_usage(app, std::move(name)) + '\n';
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  std::string out = group + ":\n";
  for (const CLI::Option* option : options) out += make_option(option, is_positional);
  return out;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string name = make_option_name(option, is_positional);
  // Type names carry the checks behind a colon; explanations say what matters of them.
  const std::string type = option->get_type_name();
  if (option->get_type_size() != 0) name += ' ' + type.substr(0, type.find(':'));
  std::string text = option->get_description();
  const std::string initial = option->get_default_str();
  if (option->get_required()) {
    text += " (required)";
  } else if (!initial.empty() && initial != "[]" && initial != "-") {
    text += fmt::format(" (default {})", initial);
  }
  return Entry(name, text);
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return Entry(command->get_name(), command->get_description());
}

std::string HelpFormatter::Entry(const std::string& name, const std::string& text) const {
  const bool beside = DisplayWidth(name) <= kNameColumns - 2;
  std::string out = "  " + Pad(name, beside ? kNameColumns : 0);
  if (!beside) out += '\n';
  bool first = beside;
  for (const std::string& line : WrapText(text, columns_ - kNameColumns - 2)) {
    out += first ? line + '\n' : std::string(kNameColumns + 2, ' ') + line + '\n';
    first = false;
  }
  return out;
}

}  // namespace tamis::cli
