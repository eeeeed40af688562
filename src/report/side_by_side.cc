#include "report/side_by_side.h"

#include <algorithm>
#include <vector>

#include "report/text_width.h"

namespace tamis {
namespace {

constexpr std::string_view kMark = "»";
constexpr std::string_view kGutter = " │ ";

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t'; }

/// Where to mark the first difference in each text, in bytes.
struct Difference {
  bool any = false;
  size_t left = 0;
  size_t right = 0;
};

/// The start of the first word that differs or, in scripts that put no spaces, of the character.
Difference FirstDifference(std::string_view left, std::string_view right) {
  const auto [l, r] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (l == left.end() && r == right.end()) return {};
  auto at = static_cast<size_t>(l - left.begin());
  const auto ends_word = [&](std::string_view text) {
    return at >= text.size() || IsSpace(text[at]);
  };
  if (ends_word(left) && ends_word(right)) {
    // The last common word is whole: the next one differs.
    const auto skip = [&](std::string_view text) {
      size_t next = at;
      while (next < text.size() && IsSpace(text[next])) ++next;
      return next;
    };
    return {true, skip(left), skip(right)};
  }
  const auto continues = [](std::string_view text, size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
  };
  while (at > 0 && (continues(left, at) || continues(right, at))) --at;
  constexpr size_t kLongestWord = 24;
  size_t word = at;
  while (word > 0 && !IsSpace(left[word - 1])) --word;
  if (at - word <= kLongestWord) at = word;
  return {true, at, at};
}

struct Block {
  std::vector<std::string> lines;
  size_t marked_line = std::string::npos;  ///< the line and byte of the mark
  size_t marked_byte = 0;
};

Block Wrap(std::string_view text, bool differs, size_t difference, int columns) {
  if (!differs) return {WrapText(text, columns)};
  std::string marked(text);
  marked.insert(difference, kMark);
  Block block{WrapText(marked, columns)};
  // Text before the difference may hold the mark's character: count those.
  size_t earlier = 0;
  for (size_t at = text.find(kMark); at < difference; at = text.find(kMark, at + 1)) ++earlier;
  for (size_t line = 0; line < block.lines.size(); ++line) {
    for (size_t at = block.lines[line].find(kMark); at != std::string::npos;
         at = block.lines[line].find(kMark, at + 1)) {
      if (earlier-- == 0) {
        block.marked_line = line;
        block.marked_byte = at;
        return block;
      }
    }
  }
  return block;
}

std::string Line(const Block& block, size_t line, int columns, const Terminal& terminal) {
  if (line >= block.lines.size()) return std::string(columns, ' ');
  const std::string text = Pad(block.lines[line], columns);
  if (line < block.marked_line) return text;
  if (line > block.marked_line) return terminal.Mark(text);
  return text.substr(0, block.marked_byte) + terminal.Mark(text.substr(block.marked_byte));
}

}  // namespace

std::string SideBySide(std::string_view left_title, std::string_view left,
                       std::string_view right_title, std::string_view right,
                       const Terminal& terminal) {
  const int columns = (terminal.columns - DisplayWidth(kGutter)) / 2;
  const Difference difference = FirstDifference(left, right);
  const Block left_block = Wrap(left, difference.any, difference.left, columns);
  const Block right_block = Wrap(right, difference.any, difference.right, columns);

  std::string out = terminal.Bold(Pad(left_title, columns)) + std::string(kGutter) +
                    terminal.Bold(right_title) + '\n';
  const size_t lines = std::max(left_block.lines.size(), right_block.lines.size());
  for (size_t line = 0; line < lines; ++line) {
    std::string text = Line(left_block, line, columns, terminal) + std::string(kGutter) +
                       Line(right_block, line, columns, terminal);
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  }
  return out;
}

}  // namespace tamis
