#include "model/checkpoint/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "model/checkpoint/stored_tensor.h"

namespace tamis {

nlohmann::json ParseJsonObject(std::string_view text, std::string_view label) {
  using Json = nlohmann::json;
  constexpr int kMaxDepth = 32;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    Require(depth <= kMaxDepth, "{}: JSON is nested more than {} deep", label, kMaxDepth);
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      Require(keys.back().insert(key).second, "{}: key \"{}\" is given twice", label,
              Printable(key));
    }
    return true;
  };
  try {
    Json json = Json::parse(text, check);
    Require(json.is_object(), "{}: a JSON object is needed", label);
    return json;
  } catch (const Json::parse_error& error) {
    Fail("{}: not valid JSON at byte {}", label, error.byte);
  } catch (const Json::exception&) {  // a number that fits no double
    Fail("{}: not valid JSON: a number is out of range", label);
  }
}

}  // namespace tamis
