#include "report/text_width.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>

namespace tamis {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// Makes UTF-8 the calling thread's encoding for a scope, whatever the user's locale. The C library
/// keeps Unicode's width tables. Where it has no such locale, characters count by bytes.
class Utf8Scope {
 public:
  Utf8Scope() {
    static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    previous_ = utf8 == nullptr ? nullptr : uselocale(utf8);
  }
  ~Utf8Scope() {
    if (previous_ != nullptr) uselocale(previous_);
  }
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  locale_t previous_;
};

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

CharacterExtent FirstCharacterInScope(std::string_view text) {
  if (IsControl(text[0])) return {1, 0};
  if (static_cast<unsigned char>(text[0]) < 0x80) return {1, 1};
  wchar_t character = 0;
  mbstate_t state{};
  const size_t bytes = mbrtowc(&character, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) return {1, 1};
  const int columns = wcwidth(character);
  return {bytes, columns < 0 ? 1 : columns};
}

/// Fills lines word by word.
class Wrapper {
 public:
  explicit Wrapper(int columns) : columns_(columns) {}

  void Character(std::string_view bytes, int width) {
    word_ += bytes;
    word_width_ += width;
    if (word_width_ > columns_) BreakWord(bytes, width);
  }
  void Space() {
    FlushWord();
    if (width_ < columns_) {
      line_ += ' ';
      ++width_;
    } else {
      EndLine();
    }
  }
  void EndLine() {
    FlushWord();
    line_.erase(line_.find_last_not_of(' ') + 1);
    lines_.push_back(std::move(line_));
    line_.clear();
    width_ = 0;
  }
  std::vector<std::string> Finish() {
    FlushWord();
    if (!line_.empty() || lines_.empty()) EndLine();
    return std::move(lines_);
  }

 private:
  void FlushWord() {
    if (word_.empty()) return;
    if (width_ + word_width_ > columns_) {
      std::string word = std::move(word_);
      const int width = word_width_;
      word_.clear();
      word_width_ = 0;
      EndLine();
      line_ = std::move(word);
      width_ = width;
      return;
    }
    line_ += word_;
    width_ += word_width_;
    word_.clear();
    word_width_ = 0;
  }
  /// The word, which ends in the character given, is longer than a line.
  void BreakWord(std::string_view bytes, int width) {
    word_.resize(word_.size() - bytes.size());
    word_width_ -= width;
    EndLine();
    word_ = bytes;
    word_width_ = width;
  }

  const int columns_;
  std::vector<std::string> lines_;
  std::string line_, word_;
  int width_ = 0, word_width_ = 0;
};

}  // namespace

CharacterExtent FirstCharacter(std::string_view text) {
  const Utf8Scope scope;
  return FirstCharacterInScope(text);
}

int DisplayWidth(std::string_view text) {
  const Utf8Scope scope;
  int width = 0;
  while (!text.empty()) {
    const CharacterExtent extent = FirstCharacterInScope(text);
    width += extent.columns;
    text.remove_prefix(extent.bytes);
  }
  return width;
}

std::string Pad(std::string_view text, int columns, bool right) {
  const std::string spaces(static_cast<size_t>(std::max(0, columns - DisplayWidth(text))), ' ');
  return right ? spaces + std::string(text) : std::string(text) + spaces;
}

std::vector<std::string> WrapText(std::string_view text, int columns) {
  const Utf8Scope scope;
  Wrapper wrapper(std::max(columns, 2));
  while (!text.empty()) {
    const CharacterExtent extent = FirstCharacterInScope(text);
    if (text[0] == '\n') {
      wrapper.EndLine();
    } else if (text[0] == ' ' || text[0] == '\t') {
      wrapper.Space();
    } else if (IsControl(text[0])) {
      wrapper.Character(kReplacement, 1);
    } else {
      wrapper.Character(text.substr(0, extent.bytes), extent.columns);
    }
    text.remove_prefix(extent.bytes);
  }
  return wrapper.Finish();
}

}  // namespace tamis
