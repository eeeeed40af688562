// Reading tokenizer JSON: bounded, with errors that name the key.
#ifndef TAMIS_MODEL_TOKENIZER_JSON_H_
#define TAMIS_MODEL_TOKENIZER_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"

namespace tamis {

using Json = nlohmann::json;

/// Parses a document nested at most 32 deep. Throws Error naming `source`.
Json ParseJson(std::string_view text, std::string_view source);

/// A member; null where it is absent. `object` must be an object, which `where` names.
inline const Json& Member(const Json& object, const char* key, std::string_view where) {
  static const Json null;
  Require(object.is_object(), "{} is {}, not an object", where, object.type_name());
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

/// The string member `key`. Throws Error where it is absent or of another type.
inline const std::string& StringMember(const Json& object, const char* key,
                                       std::string_view where) {
  const Json& value = Member(object, key, where);
  Require(value.is_string(), "{}.{} is {}, not a string", where, key, value.type_name());
  return value.get_ref<const std::string&>();
}

/// The boolean member `key`; `absent` where there is none.
inline bool BoolMember(const Json& object, const char* key, bool absent, std::string_view where) {
  const Json& value = Member(object, key, where);
  if (value.is_null()) return absent;
  Require(value.is_boolean(), "{}.{} is {}, not true or false", where, key, value.type_name());
  return value.get<bool>();
}

/// The array member `key`. Throws Error where it is absent or of another type.
inline const Json& ArrayMember(const Json& object, const char* key, std::string_view where) {
  const Json& value = Member(object, key, where);
  Require(value.is_array(), "{}.{} is {}, not an array", where, key, value.type_name());
  return value;
}

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_JSON_H_
