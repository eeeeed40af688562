#include "policy/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"

namespace tamis::policy {
namespace {

constexpr size_t kShownCharacters = 80;

// Line and column, both from 1, of the byte before `position`.
std::string Place(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, std::min(position, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1);
  return fmt::format("line {}, column {}", line, std::max<size_t>(column, 1));
}

// Reads the text once without building anything, so that no bound is passed before it is checked.
class Checker : public nlohmann::json_sax<Json> {
 public:
  explicit Checker(std::string_view text) : text_(text) {}

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }

  bool start_object(size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    Require(level.keys.insert(name).second, "{}: key {} is given twice; keep one", Path(),
            Quote(name));
    Require(level.keys.size() <= kMaxPolicyKeys, "{}: more than {} keys in one object; split it",
            Path(), kMaxPolicyKeys);
    level.name = name;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const std::string_view what = error.what();
    const bool overflow = what.find("overflow") != std::string_view::npos;
    const bool utf8 = what.find("UTF-8") != std::string_view::npos;
    Fail("not valid JSON at {}: {}", Place(text_, position),
         overflow ? "the number is too large"
         : utf8   ? "the text is not UTF-8"
         : position > text_.size()
             ? "the text ends too early"
             : "check for a missing comma, quote or bracket, or a trailing comma");
  }

 private:
  struct Level {
    std::set<std::string> keys;
    std::string name;  // the key being read
  };

  bool Value() {
    Require(++values_ <= kMaxPolicyValues, "more than {} values; a policy needs far fewer",
            kMaxPolicyValues);
    return true;
  }
  bool Open() {
    Value();
    Require(levels_.size() < kMaxPolicyDepth, "nested deeper than {} levels; a policy needs fewer",
            kMaxPolicyDepth);
    levels_.emplace_back();
    return true;
  }
  bool Close() {
    levels_.pop_back();
    return true;
  }
  std::string Path() const {
    std::string path;
    for (size_t i = 0; i + 1 < levels_.size(); ++i) {
      if (!levels_[i].name.empty()) path = JoinPath(path, levels_[i].name);
    }
    return path.empty() ? "the document" : Quote(path);
  }

  std::string_view text_;
  std::vector<Level> levels_;
  int values_ = 0;
};

std::string Cut(std::string text) {
  if (text.size() <= kShownCharacters) return text;
  size_t end = kShownCharacters;
  // Never inside a UTF-8 character.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row[b.size()];
}

}  // namespace

Json ParseJsonText(std::string_view text) {
  Require(text.size() <= kMaxPolicyBytes, "{} bytes long; a policy has at most {}", text.size(),
          kMaxPolicyBytes);
  Checker checker(text);
  Json::sax_parse(text.begin(), text.end(), &checker);
  return Json::parse(text.begin(), text.end());
}

std::string Show(const Json& value) {
  return Cut(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string Quote(std::string_view text) {
  // Cut before it is escaped as well: a text of a megabyte is not worth escaping.
  return Show(Json(std::string(text.substr(0, 4 * kShownCharacters))));
}

std::string Suggestion(std::string_view word, const std::vector<std::string>& known) {
  if (word.size() > 64) return "";
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  const std::string* nearest = nullptr;
  for (const std::string& name : known) {
    const size_t distance = EditDistance(word, name);
    if (distance < best) {
      best = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : fmt::format("; did you mean \"{}\"?", *nearest);
}

std::string JoinNames(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string JoinPath(std::string_view parent, std::string_view key) {
  return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

}  // namespace tamis::policy
