// Shell-style patterns over module paths.
#ifndef TAMIS_POLICY_PATTERN_H_
#define TAMIS_POLICY_PATTERN_H_

#include <string_view>

namespace tamis::policy {

/// Whether `text` matches `pattern` as Python's fnmatch.fnmatchcase reads it, which is what
/// ModelOpt configurations are written for: `*` any run (dots too), `?` one character, `[seq]` and
/// `[!seq]` with a-b ranges; a `[` that is never closed stands for itself, and there is no escape
/// character. Takes O(pattern * text) time on any input.
bool MatchesPattern(std::string_view pattern, std::string_view text);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_PATTERN_H_
