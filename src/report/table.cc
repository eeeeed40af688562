#include "report/table.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

#include "report/text_width.h"

namespace tamis {
namespace {

constexpr int kGap = 2;
/// No wrapped column is narrower: of labels, of text.
constexpr int kNarrowestLabel = 14;
constexpr int kNarrowestText = 24;

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::string TrimRight(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

void Table::AddGap() { rows_.emplace_back(); }

size_t Table::Wrapped() const {
  return columns_.back().align == Column::Align::kLeft ? columns_.size() - 1 : 0;
}

std::vector<int> Table::Widths(int columns) const {
  std::vector<int> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int width = DisplayWidth(columns_[c].title);
    for (const auto& row : rows_) {
      if (!row.empty()) width = std::max(width, DisplayWidth(row[c]));
    }
    widths.push_back(width);
  }
  // A heading wider than its columns widens the last of them.
  for (size_t first = 0; first < columns_.size();) {
    size_t last = first;
    int span = widths[first];
    while (last + 1 < columns_.size() && columns_[last + 1].group == columns_[first].group) {
      span += kGap + widths[++last];
    }
    widths[last] += std::max(0, DisplayWidth(columns_[first].group) - span);
    first = last + 1;
  }
  const int total =
      std::accumulate(widths.begin(), widths.end(), kGap * (static_cast<int>(widths.size()) - 1));
  if (total > columns && columns_[Wrapped()].align == Column::Align::kLeft) {
    int& width = widths[Wrapped()];
    const int narrowest = Wrapped() == 0 ? kNarrowestLabel : kNarrowestText;
    width = std::max(std::min(width, narrowest), width - total + columns);
  }
  return widths;
}

std::string Table::GroupLine(const std::vector<int>& widths) const {
  std::string line;
  for (size_t first = 0; first < columns_.size();) {
    const std::string& group = columns_[first].group;
    int span = widths[first];
    size_t last = first;
    while (last + 1 < columns_.size() && columns_[last + 1].group == group) {
      span += kGap + widths[++last];
    }
    const int rule = span - DisplayWidth(group);
    if (group.empty() || rule < 4) {
      line += Pad(group, span);
    } else {
      const int before = (rule - 2) / 2;
      line += Repeat("─", before) + ' ' + group + ' ' + Repeat("─", rule - 2 - before);
    }
    line += std::string(kGap, ' ');
    first = last + 1;
  }
  return line;
}

std::string Table::Render(const Terminal& terminal) const {
  const std::vector<int> widths = Widths(terminal.columns);
  std::string out;
  const bool grouped = std::any_of(columns_.begin(), columns_.end(),
                                   [](const Column& column) { return !column.group.empty(); });
  if (grouped) out += terminal.Dim(TrimRight(GroupLine(widths))) + '\n';

  const auto line = [&](const auto& cell_of) {
    std::string text;
    for (size_t c = 0; c < columns_.size(); ++c) {
      text += Pad(cell_of(c), widths[c], columns_[c].align == Column::Align::kRight);
      text += std::string(kGap, ' ');
    }
    return TrimRight(std::move(text));
  };
  out += terminal.Bold(line([&](size_t c) { return columns_[c].title; })) + '\n';
  std::string rule;
  for (size_t c = 0; c < columns_.size(); ++c) {
    rule += Repeat("─", widths[c]) + (c + 1 < columns_.size() ? "  " : "");
  }
  out += terminal.Dim(rule) + '\n';
  for (const auto& row : rows_) {
    if (row.empty()) {
      out += '\n';
      continue;
    }
    const size_t wrapped = Wrapped();
    const std::vector<std::string> parts = DisplayWidth(row[wrapped]) > widths[wrapped]
                                               ? WrapText(row[wrapped], widths[wrapped])
                                               : std::vector<std::string>{row[wrapped]};
    for (size_t part = 0; part < parts.size(); ++part) {
      out += line([&](size_t c) {
        if (c == wrapped) return parts[part];
        return part == 0 ? row[c] : std::string();
      });
      out += '\n';
    }
  }
  return out;
}

}  // namespace tamis
