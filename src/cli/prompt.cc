#include "cli/prompt.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/mapped_file.h"

namespace tamis::cli {
namespace {

/// A model of a million tokens reads some 8 MB; whoever gives more gave the wrong file.
constexpr size_t kLargestText = size_t{256} << 20;

std::string ReadStdin() {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Fail("cannot read stdin: {}", std::strerror(errno));
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    Require(text.size() <= kLargestText, "stdin holds more than {} bytes; give a shorter text",
            kLargestText);
  }
}

/// End (in bytes) of the last sentence of `text` that ends past `from`; 0 where none does.
size_t LastSentenceEnd(std::string_view text, size_t from) {
  constexpr std::string_view kStops[] = {".", "!", "?", "。", "！", "？"};
  constexpr std::string_view kClosers[] = {"\"", "'", ")", "]", "_", "”", "’", "」"};
  size_t best = 0;
  for (const std::string_view stop : kStops) {
    for (size_t at = text.rfind(stop); at != std::string_view::npos && at + stop.size() > from;
         at = at == 0 ? std::string_view::npos : text.rfind(stop, at - 1)) {
      size_t end = at + stop.size();
      for (bool closed = true; closed;) {
        closed = false;
        for (const std::string_view closer : kClosers) {
          if (!text.substr(end).starts_with(closer)) continue;
          end += closer.size();
          closed = true;
        }
      }
      const bool wide = stop.size() > 1;
      if (wide || (end < text.size() && (text[end] == ' ' || text[end] == '\n'))) {
        best = std::max(best, end);
        break;
      }
    }
  }
  return best;
}

}  // namespace

void PromptFlags::Declare(CLI::App& command) {
  text_option =
      command.add_option("--prompt", text, "The prompt")->type_name("TEXT")->group("Prompt");
  CLI::Option* from_file =
      command.add_option("--prompt-file", file, "A file with the prompt; -: stdin")
          ->type_name("FILE")
          ->group("Prompt");
  text_option->excludes(from_file);
  command
      .add_option("--prompt-tokens", tokens,
                  "Cut the text to about N tokens, at the end of a sentence; 0: keep all")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 28))
      ->group("Prompt");
  command.add_option("--question", question, "Ask this after the text, in the same turn")
      ->type_name("TEXT")
      ->group("Prompt");
  command.add_option("--system", system, "System message of the chat")
      ->type_name("TEXT")
      ->group("Prompt");
  command.add_flag("--raw", raw, "Continue the text as it is, without the chat template")
      ->group("Prompt");
}

std::string ReadText(const CLI::Option* text_option, const std::string& text,
                     const std::string& text_flag, const std::string& file,
                     const std::string& file_flag) {
  if (text_option->count() > 0) return text;
  if (!file.empty() && file != "-") return ReadFile(file, kLargestText);
  if (file.empty() && isatty(STDIN_FILENO) == 1) {
    Fail("no text: give {} TEXT or {} FILE, or pipe it to stdin", text_flag, file_flag);
  }
  return ReadStdin();
}

std::string CutText(std::string_view text, int32_t tokens, const Tokenizer& tokenizer) {
  // Only as much as needed is tokenised: tokens average about four bytes.
  size_t bytes = std::min(text.size(), static_cast<size_t>(tokens) * 8);
  std::vector<int32_t> ids = tokenizer.Encode(text.substr(0, bytes), true, false);
  while (ids.size() <= static_cast<size_t>(tokens) && bytes < text.size()) {
    bytes = std::min(text.size(), 2 * bytes);
    ids = tokenizer.Encode(text.substr(0, bytes), true, false);
  }
  Require(ids.size() >= static_cast<size_t>(tokens),
          "--prompt-tokens {}: the text has only {} tokens; lower it or give a longer text", tokens,
          ids.size());
  ids.resize(static_cast<size_t>(tokens));
  const std::string head = tokenizer.Decode(ids, true);
  if (const size_t end = LastSentenceEnd(head, head.size() / 2)) return head.substr(0, end);
  StreamDecoder decoder(tokenizer);
  std::string whole;
  for (const int32_t id : ids) whole += decoder.Push(id);
  return whole;
}

std::vector<int32_t> PromptFlags::Encode(const Tokenizer& tokenizer) const {
  std::string content = ReadText(text_option, text, "--prompt", file, "--prompt-file");
  if (tokens > 0) content = CutText(content, tokens, tokenizer);
  if (!question.empty()) content += (content.empty() ? "" : "\n\n") + question;
  Require(!content.empty(), "the prompt is empty: give --prompt TEXT or --prompt-file FILE");
  if (raw || !tokenizer.has_chat_template()) {
    Require(system.empty(), "--system needs a chat: {}",
            raw ? "leave out --raw" : "this checkpoint has no chat template that tamis knows");
    return tokenizer.Encode(content);
  }
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", std::move(content)});
  // The template writes its own beginning-of-sequence token.
  return tokenizer.Encode(tokenizer.RenderChat(messages), true, false);
}

}  // namespace tamis::cli
