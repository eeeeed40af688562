// Typed access to JSON with the key path in every error.
#ifndef TAMIS_POLICY_JSON_READER_H_
#define TAMIS_POLICY_JSON_READER_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "policy/json_text.h"

namespace tamis::policy {

/// One JSON object being read. Every key that is asked for counts as known; Finish refuses the
/// rest, so a reader cannot forget to reject what it does not understand. The object must outlive
/// the reader.
class ObjectReader {
 public:
  /// Throws Error unless `value` is an object. `path` is "" for the document itself.
  ObjectReader(const Json& value, std::string path);

  /// The member's value, or null where it is absent.
  const Json* Find(std::string_view key);
  /// Throws Error where it is absent; `what` completes "give ...".
  const Json& Get(std::string_view key, std::string_view what);
  bool Has(std::string_view key) { return Find(key) != nullptr; }

  std::string Path(std::string_view key) const { return JoinPath(path_, key); }
  /// "the document" or the path, for errors about the object as a whole.
  std::string Name() const { return path_.empty() ? "the document" : path_; }

  int64_t Integer(std::string_view key, int64_t absent, int64_t minimum, int64_t maximum);
  bool Boolean(std::string_view key, bool absent);
  /// One of `words`; "" where it is absent.
  std::string Word(std::string_view key, const std::vector<std::string>& words);

  /// Throws Error for the first key that was never asked for, with the nearest known name.
  void Finish() const;

 private:
  const Json& value_;
  std::string path_;
  std::vector<std::string> known_;
};

/// Each throws Error naming path, value and what is expected. Ranges are inclusive.
int64_t ReadInteger(const Json& value, const std::string& path, int64_t minimum, int64_t maximum);
double ReadReal(const Json& value, const std::string& path);
bool ReadBoolean(const Json& value, const std::string& path);
const std::string& ReadString(const Json& value, const std::string& path);

/// Throws Error unless `lambda` is in [0, 1) (or (0, 1) where zero is not allowed), also as a
/// 32-bit float, which is what executors compare with.
void CheckThreshold(double lambda, const std::string& path, bool zero_allowed);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_JSON_READER_H_
