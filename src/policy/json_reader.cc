#include "policy/json_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace tamis::policy {

ObjectReader::ObjectReader(const Json& value, std::string path)
    : value_(value), path_(std::move(path)) {
  Require(value_.is_object(), "{}: {} is not an object; write {{...}}", Name(), Show(value_));
}

const Json* ObjectReader::Find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  const auto found = value_.find(key);
  return found == value_.end() ? nullptr : &*found;
}

const Json& ObjectReader::Get(std::string_view key, std::string_view what) {
  const Json* found = Find(key);
  Require(found != nullptr, "{}: key \"{}\" is missing; give {}", Name(), key, what);
  return *found;
}

int64_t ObjectReader::Integer(std::string_view key, int64_t absent, int64_t minimum,
                              int64_t maximum) {
  const Json* found = Find(key);
  return found == nullptr ? absent : ReadInteger(*found, Path(key), minimum, maximum);
}

bool ObjectReader::Boolean(std::string_view key, bool absent) {
  const Json* found = Find(key);
  return found == nullptr ? absent : ReadBoolean(*found, Path(key));
}

std::string ObjectReader::Word(std::string_view key, const std::vector<std::string>& words) {
  const Json* found = Find(key);
  if (found == nullptr) return "";
  const bool valid = found->is_string() && std::find(words.begin(), words.end(),
                                                     found->get<std::string>()) != words.end();
  Require(valid, "{}: {} is not one of {}", Path(key), Show(*found), JoinNames(words));
  return found->get<std::string>();
}

void ObjectReader::Finish() const {
  for (const auto& item : value_.items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
    Fail("{}: unknown key {}{} (known: {})", Name(), Quote(item.key()),
         Suggestion(item.key(), known_), JoinNames(known_));
  }
}

int64_t ReadInteger(const Json& value, const std::string& path, int64_t minimum, int64_t maximum) {
  Require(value.is_number_integer(), "{}: {} is not an integer; give one from {} to {}", path,
          Show(value), minimum, maximum);
  // Values past int64 are kept as uint64 by the parser.
  const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX};
  Require(fits && value.get<int64_t>() >= minimum && value.get<int64_t>() <= maximum,
          "{}: {} is out of range; give an integer from {} to {}", path, Show(value), minimum,
          maximum);
  return value.get<int64_t>();
}

double ReadReal(const Json& value, const std::string& path) {
  Require(value.is_number(), "{}: {} is not a number", path, Show(value));
  return value.get<double>();
}

bool ReadBoolean(const Json& value, const std::string& path) {
  Require(value.is_boolean(), "{}: {} is not true or false", path, Show(value));
  return value.get<bool>();
}

const std::string& ReadString(const Json& value, const std::string& path) {
  Require(value.is_string(), "{}: {} is not a string; write it in quotes", path, Show(value));
  return value.get_ref<const std::string&>();
}

void CheckThreshold(double lambda, const std::string& path, bool zero_allowed) {
  const auto rounded = static_cast<float>(lambda);
  const bool valid = lambda == 0.0 ? zero_allowed : rounded > 0.0f && rounded < 1.0f;
  Require(valid, "{}: {} is out of range; give a threshold in {}0, 1), such as 0.001", path, lambda,
          zero_allowed ? "[" : "(");
}

}  // namespace tamis::policy
