#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tamis/error.h"
#include "tamis/selector.h"

namespace tamis {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string ErrorOf(std::string_view name, const ParameterValues& values) {
  try {
    MakeSelector(name, values);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Registry, ListsSelectorsWithDescribedParameters) {
  std::vector<std::string_view> names;
  for (const SelectorInfo& selector : Selectors()) {
    names.push_back(selector.name);
    EXPECT_FALSE(selector.paper.empty());
    EXPECT_FALSE(selector.help.empty());
    for (const ParameterInfo& parameter : selector.parameters) {
      EXPECT_FALSE(parameter.help.empty()) << parameter.name;
      EXPECT_GE(parameter.default_value, parameter.minimum) << parameter.name;
      EXPECT_LE(parameter.default_value, parameter.maximum) << parameter.name;
    }
    EXPECT_EQ(&FindSelector(selector.name), &selector);
    EXPECT_NE(MakeSelector(selector.name, {}), nullptr);  // defaults are valid
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("streaming", "xattention"));
}

TEST(Registry, RefusesUnknownNames) {
  EXPECT_THAT(ErrorOf("xatention", {}),
              AllOf(HasSubstr("'xatention'"), HasSubstr("streaming, xattention")));
  EXPECT_THAT(ErrorOf("xattention", {{"tau", {0.5}}}),
              AllOf(HasSubstr("'tau'"), HasSubstr("stride, threshold, keep_sink, keep_recent")));
}

TEST(Registry, RefusesValuesOutOfRangeWithTheRange) {
  EXPECT_THAT(ErrorOf("xattention", {{"threshold", {1.5}}}),
              AllOf(HasSubstr("threshold is 1.5"), HasSubstr("0 to 1")));
  EXPECT_THAT(ErrorOf("xattention", {{"threshold", {0.5, -0.1}}}), HasSubstr("-0.1"));
  EXPECT_THAT(ErrorOf("xattention", {{"threshold", {std::nan("")}}}), HasSubstr("nan"));
  EXPECT_THAT(ErrorOf("xattention", {{"threshold", {}}}), HasSubstr("no value"));
  EXPECT_THAT(ErrorOf("xattention", {{"stride", {12}}}),
              AllOf(HasSubstr("stride is 12"), HasSubstr("4, 8, 16, 32, 64")));
  EXPECT_THAT(ErrorOf("xattention", {{"stride", {std::nan("")}}}), HasSubstr("nan"));
  EXPECT_THAT(ErrorOf("xattention", {{"keep_sink", {2}}}), HasSubstr("0 or 1"));
  EXPECT_THAT(ErrorOf("streaming", {{"recent_tokens", {0}}}), HasSubstr("recent_tokens is 0"));
  EXPECT_THAT(ErrorOf("streaming", {{"sink_tokens", {3.5}}}), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf("streaming", {{"sink_tokens", {1e300}}}), HasSubstr("1073741824"));
}

TEST(Registry, TakesOneValuePerHeadOnlyWhereAllowed) {
  EXPECT_EQ(ErrorOf("xattention", {{"threshold", {0.5, 0.6}}}), "no error");
  EXPECT_THAT(ErrorOf("xattention", {{"stride", {8, 16}}}), HasSubstr("2 values"));
}

}  // namespace
}  // namespace tamis
