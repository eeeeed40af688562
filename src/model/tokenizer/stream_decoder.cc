#include <span>
#include <utility>

#include "model/tokenizer/utf8.h"
#include "tamis/tokenizer.h"

namespace tamis {

std::string StreamDecoder::Push(int32_t id) {
  pending_ += tokenizer_.Decode(std::span(&id, 1));
  // Only the last three bytes can begin a character that the next token goes on with.
  size_t whole = pending_.size();
  for (size_t begin = pending_.size(); begin-- > 0 && pending_.size() - begin <= 3;) {
    if ((static_cast<uint8_t>(pending_[begin]) & 0xC0) == 0x80) continue;
    const Utf8Step last = DecodeUtf8(std::string_view(pending_).substr(begin));
    if (last.kind == Utf8Step::Kind::kCut) whole = begin;
    break;
  }
  std::string text;
  AppendRepaired(std::string_view(pending_).substr(0, whole), text);
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  AppendRepaired(std::exchange(pending_, {}), text);
  return text;
}

}  // namespace tamis
