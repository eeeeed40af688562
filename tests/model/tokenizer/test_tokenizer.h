// A tokenizer small enough to work out by hand.
#ifndef TAMIS_TESTS_MODEL_TOKENIZER_TEST_TOKENIZER_H_
#define TAMIS_TESTS_MODEL_TOKENIZER_TEST_TOKENIZER_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "model/checkpoint/expect_error.h"
#include "model/tokenizer/tokenizer_json.h"
#include "tamis/tokenizer.h"

namespace tamis::testing {

/// tokenizer.json: ids 0 to 255 are the bytes, then the merges "h e" 256, "l l" 257, "he ll" 258,
/// "hell o" 259, "Ġ w" 260; special tokens <s> 261 and </s> 262; GPT-2's split.
nlohmann::json SmallTokenizerJson();

/// A tokenizer of such a document.
std::unique_ptr<Tokenizer> Build(const nlohmann::json& json);

/// The same as GGUF metadata, "pre" as given.
TokenizerMetadata SmallMetadata(const std::string& pre);

/// The spelling of bytes in the byte alphabet.
std::string Spell(std::string_view bytes);

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_TOKENIZER_TEST_TOKENIZER_H_
