// Runs a tokenizer for tokenizer_parity.py.
//
//   tokenize_parity encode|render PATH IN OUT [plain]
//
// PATH is a GGUF file, a tokenizer.json or a directory. IN and OUT are sequences of records: a
// 32-bit length (little-endian) and that many bytes.
// encode: a record is a text; its answers are the ids (int32 each), what they decode to with and
// without special tokens, and the same streamed. `plain`: special tokens are read as text.
// render: a record is a JSON array of [role, content]; its answer is the rendered conversation.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "model/checkpoint/checkpoint.h"
#include "tamis/error.h"
#include "tamis/tokenizer.h"

namespace {

std::vector<std::string> ReadRecords(const std::string& path) {
  const std::string bytes = tamis::ReadFile(path, size_t{1} << 30);
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    uint32_t length = 0;
    if (bytes.size() - at < sizeof(length)) throw tamis::Error(path + " is cut short");
    std::memcpy(&length, &bytes[at], sizeof(length));
    at += sizeof(length);
    if (bytes.size() - at < length) throw tamis::Error(path + " is cut short");
    records.push_back(bytes.substr(at, length));
    at += length;
  }
  return records;
}

void Write(std::ofstream& file, std::string_view record) {
  const auto length = static_cast<uint32_t>(record.size());
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(record.data(), static_cast<std::streamsize>(record.size()));
}

std::unique_ptr<tamis::Tokenizer> Load(const std::string& path) {
  if (!path.ends_with(".gguf")) return tamis::Tokenizer::FromFile(path);
  const auto checkpoint = tamis::Checkpoint::Open(path);
  if (!checkpoint->tokenizer()) throw tamis::Error(path + " holds no tokenizer");
  return tamis::Tokenizer::FromMetadata(*checkpoint->tokenizer());
}

void Encode(const tamis::Tokenizer& tokenizer, const std::string& text, bool parse_special,
            std::ofstream& out) {
  const std::vector<int32_t> ids = tokenizer.Encode(text, parse_special);
  Write(out, {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
  Write(out, tokenizer.Decode(ids, /*keep_special=*/true));
  Write(out, tokenizer.Decode(ids));
  std::string streamed;
  tamis::StreamDecoder stream(tokenizer);
  for (const int32_t id : ids) streamed += stream.Push(id);
  Write(out, streamed + stream.Finish());
}

std::string Render(const tamis::Tokenizer& tokenizer, const std::string& json) {
  std::vector<tamis::ChatMessage> messages;
  for (const auto& message : nlohmann::json::parse(json)) {
    messages.push_back({message[0].get<std::string>(), message[1].get<std::string>()});
  }
  return tokenizer.RenderChat(messages);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: tokenize_parity encode|render PATH IN OUT [plain]\n");
    return 2;
  }
  try {
    const std::string mode = argv[1];
    const auto tokenizer = Load(argv[2]);
    std::ofstream out(argv[4], std::ios::binary);
    for (const std::string& record : ReadRecords(argv[3])) {
      if (mode == "render") {
        Write(out, Render(*tokenizer, record));
      } else {
        Encode(*tokenizer, record, /*parse_special=*/argc == 5, out);
      }
    }
    out.flush();
    if (!out) throw tamis::Error(std::string("cannot write ") + argv[4]);
    std::printf("%s\n", tokenizer->Summary().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenize_parity: %s\n", error.what());
    return 1;
  }
}
