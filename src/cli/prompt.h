// The prompt that a command was given.
#ifndef TAMIS_CLI_PROMPT_H_
#define TAMIS_CLI_PROMPT_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/tokenizer.h"

namespace tamis::cli {

/// --prompt, --prompt-file, --prompt-tokens, --question, --system and --raw.
struct PromptFlags {
  std::string text;
  std::string file;
  std::string question;
  std::string system;
  int32_t tokens = 0;
  bool raw = false;
  CLI::Option* text_option = nullptr;

  void Declare(CLI::App& command);
  /// Ids of the prompt, read from flag, file or stdin; a chat where the checkpoint has a template
  /// and --raw is not given. Throws Error where there is no prompt.
  std::vector<int32_t> Encode(const Tokenizer& tokenizer) const;
};

/// The text of a flag, a file ("-": stdin) or, where neither is given, stdin, unless that is a
/// terminal. Throws Error that names the flags.
std::string ReadText(const CLI::Option* text_option, const std::string& text,
                     const std::string& text_flag, const std::string& file,
                     const std::string& file_flag);

/// The beginning of `text`: at most `tokens` tokens, cut after the last sentence that ends in its
/// second half. Throws Error where the text is shorter.
std::string CutText(std::string_view text, int32_t tokens, const Tokenizer& tokenizer);

}  // namespace tamis::cli

#endif  // TAMIS_CLI_PROMPT_H_
