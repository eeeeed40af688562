#include "policy/pattern.h"

#include <cstddef>

namespace tamis::policy {
namespace {

// The index of the `]` that closes the class opened at pattern[open], or npos. A `]` right after
// the opening (or after `!`) is a member of the class.
size_t ClassEnd(std::string_view pattern, size_t open) {
  size_t at = open + 1;
  if (at < pattern.size() && pattern[at] == '!') ++at;
  if (at < pattern.size() && pattern[at] == ']') ++at;
  return pattern.find(']', at);
}

bool ClassHolds(std::string_view members, char c) {
  const bool negated = !members.empty() && members.front() == '!';
  if (negated) members.remove_prefix(1);
  const auto code = static_cast<unsigned char>(c);
  bool found = false;
  for (size_t i = 0; i < members.size(); ++i) {
    const auto low = static_cast<unsigned char>(members[i]);
    auto high = low;
    if (i + 2 < members.size() && members[i + 1] == '-') {
      high = static_cast<unsigned char>(members[i + 2]);
      i += 2;
    }
    found = found || (low <= code && code <= high);
  }
  return found != negated;
}

}  // namespace

bool MatchesPattern(std::string_view pattern, std::string_view text) {
  constexpr size_t kNone = std::string_view::npos;
  size_t p = 0, t = 0;
  // Where to resume once a literal part fails: after the last `*`, one character further on.
  size_t star = kNone, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = ++p;
        star_text = t;
        continue;
      }
      const size_t close = pattern[p] == '[' ? ClassEnd(pattern, p) : kNone;
      const bool matches = close != kNone
                               ? ClassHolds(pattern.substr(p + 1, close - p - 1), text[t])
                               : pattern[p] == '?' || pattern[p] == text[t];
      if (matches) {
        p = close != kNone ? close + 1 : p + 1;
        ++t;
        continue;
      }
    }
    if (star == kNone) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace tamis::policy
