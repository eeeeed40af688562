// Aligned tables.
#ifndef TAMIS_REPORT_TABLE_H_
#define TAMIS_REPORT_TABLE_H_

#include <string>
#include <vector>

#include "report/terminal.h"

namespace tamis {

struct Column {
  enum class Align { kLeft, kRight };
  std::string title;
  Align align = Align::kRight;
  /// Neighbouring columns of one group share a heading above their titles.
  std::string group = {};
};

/// Collects rows; renders them in columns as wide as their widest cell, two spaces apart. Where
/// that is too much for the terminal, the cells of a last column of text, or else of a first column
/// of labels, are wrapped.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell a column.
  void AddRow(std::vector<std::string> cells);
  /// A blank line between groups of rows.
  void AddGap();
  /// Lines that end in newlines, without trailing spaces.
  std::string Render(const Terminal& terminal) const;

 private:
  /// The column that may be wrapped, if it is left-aligned.
  size_t Wrapped() const;
  std::vector<int> Widths(int columns) const;
  std::string GroupLine(const std::vector<int>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  ///< an empty row is a gap
};

}  // namespace tamis

#endif  // TAMIS_REPORT_TABLE_H_
