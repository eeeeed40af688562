#include "model/tokenizer/utf8.h"

#include <fmt/format.h>

namespace tamis {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

Utf8Step DecodeUtf8(std::string_view text) {
  using Kind = Utf8Step::Kind;
  constexpr char32_t kBad = 0xFFFD;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Kind::kCharacter, 1, lead};
  size_t length;
  // The second byte's range keeps overlong forms, surrogates and values past U+10FFFF out.
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Kind::kInvalid, 1, kBad};
  }
  char32_t character = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Kind::kCut, i, kBad};
    if (byte(i) < low || byte(i) > high) return {Kind::kInvalid, i, kBad};
    character = (character << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kCharacter, length, character};
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    text.remove_prefix(step.bytes);
  }
  return true;
}

void AppendRepaired(std::string_view text, std::string& target) {
  size_t clean = 0;  // bytes of text, from its start, known to be well-formed and not yet appended
  while (clean < text.size()) {
    const Utf8Step step = DecodeUtf8(text.substr(clean));
    if (step.kind == Utf8Step::Kind::kCharacter) {
      clean += step.bytes;
      continue;
    }
    target.append(text.substr(0, clean)).append(kReplacement);
    text.remove_prefix(clean + step.bytes);
    clean = 0;
  }
  target.append(text);
}

void AppendUtf8(char32_t character, std::string& target) {
  const auto put = [&](char32_t byte) { target.push_back(static_cast<char>(byte)); };
  if (character < 0x80) {
    put(character);
  } else if (character < 0x800) {
    put(0xC0 | (character >> 6));
    put(0x80 | (character & 0x3F));
  } else if (character < 0x10000) {
    put(0xE0 | (character >> 12));
    put(0x80 | ((character >> 6) & 0x3F));
    put(0x80 | (character & 0x3F));
  } else {
    put(0xF0 | (character >> 18));
    put(0x80 | ((character >> 12) & 0x3F));
    put(0x80 | ((character >> 6) & 0x3F));
    put(0x80 | (character & 0x3F));
  }
}

std::string Excerpt(std::string_view text) {
  constexpr size_t kMaxBytes = 60;
  std::string excerpt;
  while (!text.empty() && excerpt.size() < kMaxBytes) {
    const Utf8Step step = DecodeUtf8(text);
    if (step.character < 0x20 || step.character == 0x7F) {
      excerpt += step.character == '\n' ? "\\n" : fmt::format("\\x{:02x}", text[0]);
    } else {
      AppendUtf8(step.character, excerpt);
    }
    text.remove_prefix(step.bytes);
  }
  return text.empty() ? excerpt : excerpt + "...";
}

bool IsWhiteSpace(char32_t character) {
  return (character >= 0x9 && character <= 0xD) || character == 0x20 || character == 0x85 ||
         character == 0xA0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
         character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
         character == 0x3000;
}

const std::array<char32_t, 256>& ByteAlphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> characters{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      characters[byte] = printable ? byte : next++;
    }
    return characters;
  }();
  return alphabet;
}

std::optional<std::string> BytesOfSpelling(std::string_view spelling) {
  // Every character of the alphabet is below U+0144.
  static const std::array<int16_t, 0x144> byte_of = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    for (int16_t byte = 0; byte < 256; ++byte) bytes[ByteAlphabet()[byte]] = byte;
    return bytes;
  }();
  std::string bytes;
  bytes.reserve(spelling.size());
  while (!spelling.empty()) {
    const Utf8Step step = DecodeUtf8(spelling);
    if (step.character >= byte_of.size() || byte_of[step.character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte_of[step.character]));
    spelling.remove_prefix(step.bytes);
  }
  return bytes;
}

}  // namespace tamis
