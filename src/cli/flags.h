// Flags that several commands share, and what they ask for.
#ifndef TAMIS_CLI_FLAGS_H_
#define TAMIS_CLI_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "report/compare.h"
#include "report/json_file.h"
#include "tamis/attention.h"
#include "tamis/model.h"

namespace tamis::cli {

/// --threads and --isa.
struct MachineFlags {
  int threads = 0;
  std::string isa;

  void Declare(CLI::App& command);
  /// Throws Error for an instruction set that this machine lacks.
  ExecutionContext Context(ThreadPool& pool) const;
};

/// --model, --dtype, --ctx, --chunk, --page-size and the machine.
struct ModelFlags {
  std::string path;
  std::string dtype = "f32";
  int32_t context = 0;
  int32_t chunk = 1024;
  int32_t page_size = 0;
  MachineFlags machine;

  void Declare(CLI::App& command);
  /// Tokens the context holds. Throws Error, with numbers and the flag that mends it, where
  /// `prompt_tokens` and `more_tokens` do not fit; `may_end_early`: only the prompt has to.
  int32_t Capacity(const ModelConfig& config, size_t prompt_tokens, int32_t more_tokens,
                   bool may_end_early) const;
};

/// A loaded checkpoint and what it runs on.
struct Session {
  explicit Session(const ModelFlags& flags);

  ThreadPool pool;
  ExecutionContext context;
  DType dtype;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Model> model;

  /// The fields "model", "cpu", "threads" and "dtype".
  nlohmann::ordered_json Json() const;
  /// The same for people, one line.
  std::string Summary() const;
};

/// --json [FILE].
struct JsonFlag {
  std::string value = "-";  ///< what --json without a file means: stdout
  CLI::Option* option = nullptr;

  void Declare(CLI::App& command);
  /// Where the document goes, if one is wanted. Throws Error where it cannot be written.
  std::optional<JsonSink> Sink() const;
};

/// A policy as flags give it: a preset, a file or inline JSON, and, but for inline JSON, settings
/// after commas: "xattention,prefill.selector.threshold=0.8". `settings` come after those. Labels
/// are short names for tables.
NamedPolicy ParsePolicy(const std::string& argument, const std::vector<std::string>& settings);
/// Several, with labels that differ; "dense" is left out, being in every table.
std::vector<NamedPolicy> ParsePolicies(const std::vector<std::string>& arguments);

/// A document that begins as all of them do.
nlohmann::ordered_json Document(const std::string& command);

/// Writes to stdout. Throws Error where that fails.
void Print(const std::string& text);
/// "AMD EPYC, 2 threads".
std::string MachineSummary(int threads);

}  // namespace tamis::cli

#endif  // TAMIS_CLI_FLAGS_H_
