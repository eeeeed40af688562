// How many columns text takes on a terminal, and fitting it into so many.
#ifndef TAMIS_REPORT_TEXT_WIDTH_H_
#define TAMIS_REPORT_TEXT_WIDTH_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tamis {

/// One character at the start of a text.
struct CharacterExtent {
  size_t bytes = 0;
  int columns = 0;  ///< 0 combining, 1, or 2 (East Asian wide, emoji); 1 for invalid bytes
};

/// `text` must not be empty. Control characters take no columns.
CharacterExtent FirstCharacter(std::string_view text);

/// Columns of a text without newlines.
int DisplayWidth(std::string_view text);

/// Appends spaces (or, `right`, puts them before) up to `columns`. Longer text is left as it is.
std::string Pad(std::string_view text, int columns, bool right = false);

/// `text` as one or more lines of at most `columns` (>= 2) columns: broken at newlines, else at
/// spaces, else inside a word that is longer than a line. Tabs become a space, other control
/// characters a replacement character: model output must not steer the terminal.
std::vector<std::string> WrapText(std::string_view text, int columns);

}  // namespace tamis

#endif  // TAMIS_REPORT_TEXT_WIDTH_H_
