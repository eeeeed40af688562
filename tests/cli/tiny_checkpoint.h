// A checkpoint of a few kilobytes that every command can load.
#ifndef TAMIS_TESTS_CLI_TINY_CHECKPOINT_H_
#define TAMIS_TESTS_CLI_TINY_CHECKPOINT_H_

#include <string>
#include <vector>

#include "model/checkpoint/test_model.h"

namespace tamis::testing {

/// A random Llama of two layers whose tokenizer has one token a byte, <|im_start|> (256) and
/// <|im_end|> (257, ends a turn), and a ChatML template. 256 positions.
/// `embeddings`: rows of the embedding matrix; 258 where model and tokenizer belong together.
std::vector<uint8_t> TinyGguf(int32_t embeddings = 258);

void WriteFile(const std::string& path, const std::vector<uint8_t>& bytes);

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_CLI_TINY_CHECKPOINT_H_
