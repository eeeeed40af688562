// tamis tokenize: text to ids and back.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/prompt.h"

namespace tamis::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  std::vector<int32_t> decode;
  bool plain = false;
  bool no_bos = false;
  bool pieces = false;
  CLI::Option* text_option = nullptr;
  CLI::Option* decode_option = nullptr;
  JsonFlag json;
};

void DeclareTokenize(CLI::App& command, TokenizeOptions& options) {
  command
      .add_option("--model", options.model, "GGUF file, HuggingFace directory or tokenizer.json")
      ->type_name("PATH")
      ->required();
  options.text_option =
      command.add_option("--text", options.text, "Text to tokenise")->type_name("TEXT");
  CLI::Option* file =
      command.add_option("--file", options.file, "File to tokenise; -: stdin")->type_name("FILE");
  options.decode_option =
      command.add_option("--decode", options.decode, "Turn these ids into text instead")
          ->type_name("ID...")
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  options.text_option->excludes(file)->excludes(options.decode_option);
  file->excludes(options.decode_option);
  command.add_flag("--plain", options.plain, "Read special tokens in the text as plain text");
  command.add_flag("--no-bos", options.no_bos, "Leave out the beginning-of-sequence token");
  command.add_flag("--pieces", options.pieces, "One line a token: id and text");
  options.json.Declare(command);
  command.footer(R"(Examples:
  tamis tokenize --model model.gguf --text "It is a truth universally acknowledged"
  tamis tokenize --model model.gguf --file novel.txt --json ids.json
  tamis tokenize --model model.gguf --decode 504 1962 314)");
}

int Decode(const TokenizeOptions& options, const Tokenizer& tokenizer,
           const std::optional<JsonSink>& sink) {
  const std::string text = tokenizer.Decode(options.decode, true);
  if (!sink || !sink->to_stdout()) Print(text + '\n');
  if (sink) {
    nlohmann::ordered_json json = Document("tokenize");
    json["text"] = text;
    sink->Write(json);
  }
  return kOk;
}

int RunTokenize(const TokenizeOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer(options.model);
  if (options.decode_option->count() > 0) return Decode(options, *tokenizer, sink);
  const std::string text =
      ReadText(options.text_option, options.text, "--text", options.file, "--file");
  const std::vector<int32_t> ids = tokenizer->Encode(text, !options.plain, !options.no_bos);
  if (!sink || !sink->to_stdout()) {
    if (options.pieces) {
      std::string lines;
      for (const int32_t id : ids) {
        lines += fmt::format("{:>7}  {}\n", id, tokenizer->TokenText(id));
      }
      Print(lines);
    } else {
      Print(fmt::format("{}\n", fmt::join(ids, " ")));
    }
    fmt::print(stderr, "{} tokens, {} bytes\n", ids.size(), text.size());
  }
  if (sink) {
    nlohmann::ordered_json json = Document("tokenize");
    json["bytes"] = text.size();
    json["count"] = ids.size();
    json["ids"] = ids;
    sink->Write(json);
  }
  return kOk;
}

}  // namespace

void RegisterTokenize(CLI::App& app, Action& action) {
  AddCommand<TokenizeOptions>(app, "tokenize", "Turn text into token ids, or back", action,
                              RunTokenize, DeclareTokenize);
}

}  // namespace tamis::cli
