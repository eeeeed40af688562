// Throwing tamis::Error with formatted values.
#ifndef TAMIS_BASE_CHECK_H_
#define TAMIS_BASE_CHECK_H_

#include <fmt/format.h>

#include <utility>

#include "tamis/error.h"

namespace tamis {

/// Throws Error with a message formatted by fmt.
template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error unless `condition`: for what a user got wrong. Invariants of our own use assert.
template <typename... Args>
void Require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tamis

#endif  // TAMIS_BASE_CHECK_H_
