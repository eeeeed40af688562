#include <filesystem>

#include "base/check.h"
#include "model/checkpoint/checkpoint.h"
#include "tamis/model.h"

namespace tamis {

std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path) {
  std::error_code error;  // what cannot be looked at is reported by whoever opens it
  if (path.ends_with(".json") && !path.ends_with(".index.json")) return Tokenizer::FromFile(path);
  if (std::filesystem::is_directory(path, error)) return Tokenizer::FromFile(path);
  const std::unique_ptr<Checkpoint> checkpoint = Checkpoint::Open(path);
  if (checkpoint->tokenizer().has_value()) return Tokenizer::FromMetadata(*checkpoint->tokenizer());
  return Tokenizer::FromFile(checkpoint->directory());
}

}  // namespace tamis
