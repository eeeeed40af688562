// Helpers of the policy tests.
#ifndef TAMIS_TESTS_POLICY_POLICY_TESTING_H_
#define TAMIS_TESTS_POLICY_POLICY_TESTING_H_

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "tamis/error.h"
#include "tamis/policy.h"

namespace tamis::policy {

inline PolicyTarget Target(int32_t layers, int32_t q_heads, int32_t kv_heads,
                           int32_t head_dim = 64) {
  PolicyTarget target{{}, q_heads, kv_heads, head_dim};
  for (int32_t i = 0; i < layers; ++i) {
    target.modules.push_back(fmt::format("model.layers.{}.self_attn", i));
  }
  return target;
}

/// The message of the Error that `call` throws; "no error" where it throws none.
template <typename Call>
std::string ErrorOf(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline std::string ParseError(std::string_view spec, std::vector<std::string> overrides = {}) {
  return ErrorOf([&] { Policy::Parse(spec, overrides); });
}

}  // namespace tamis::policy

#endif  // TAMIS_TESTS_POLICY_POLICY_TESTING_H_
