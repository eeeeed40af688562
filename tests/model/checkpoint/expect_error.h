// Expecting tamis::Error with a message a user can act on.
#ifndef TAMIS_TESTS_MODEL_CHECKPOINT_EXPECT_ERROR_H_
#define TAMIS_TESTS_MODEL_CHECKPOINT_EXPECT_ERROR_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tamis/error.h"

namespace tamis::testing {

/// Runs `action`, which must throw Error whose message is one line that contains `text`.
template <typename Action>
void ExpectError(Action&& action, const std::string& text) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr(text));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\n")));
    return;
  }
  ADD_FAILURE() << "no error; expected one that says: " << text;
}

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_CHECKPOINT_EXPECT_ERROR_H_
