// Strict JSON: text to a document, values to short readable text, names to suggestions.
#ifndef TAMIS_POLICY_JSON_TEXT_H_
#define TAMIS_POLICY_JSON_TEXT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace tamis::policy {

/// Keeps keys in the order written: ModelOpt's last match wins by it.
using Json = nlohmann::ordered_json;

/// Bounds on a policy document, far above what any needs.
inline constexpr size_t kMaxPolicyBytes = size_t{1} << 20;
inline constexpr int kMaxPolicyDepth = 16;
inline constexpr int kMaxPolicyValues = 1 << 16;
inline constexpr int kMaxPolicyKeys = 1024;  ///< of one object

/// Parses JSON text. Throws Error for text that is not JSON (with line and column), for a key
/// written twice in one object, and for a document past the bounds above.
Json ParseJsonText(std::string_view text);

/// A value as JSON on one line, cut to a length fit for an error message.
std::string Show(const Json& value);
/// A string in quotes with control characters escaped and bad UTF-8 replaced, cut likewise.
std::string Quote(std::string_view text);

/// "; did you mean \"x\"?" for the known name nearest to `word`, or "" where none is near.
std::string Suggestion(std::string_view word, const std::vector<std::string>& known);
/// Names joined by commas.
std::string JoinNames(const std::vector<std::string>& names);

/// "parent.key", or "key" where the parent is the document.
std::string JoinPath(std::string_view parent, std::string_view key);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_JSON_TEXT_H_
