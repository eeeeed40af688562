#include "select/selector_call.h"

#include <algorithm>
#include <bit>

#include "attention/sequence_view.h"
#include "base/check.h"

namespace tamis {

TileIndexShape PerHeadShape(const AttentionArguments& maxima, int32_t query_block,
                            int32_t key_block) {
  return {.batch = maxima.batch,
          .q_heads = maxima.q_heads,
          .heads_per_row = 1,
          .query_block = query_block,
          .key_block = key_block,
          .max_query_tokens = maxima.query_tokens,
          .max_key_tokens = maxima.key_tokens};
}

void CheckCall(std::string_view method, const AttentionArguments& arguments,
               const TileIndexShape& wanted, const TileIndexBuffer& index,
               const ExecutionContext& context) {
  Require(context.device == Device::kCpu, "{} selects on the CPU only; device is {}, use cpu",
          method, Name(context.device));
  Require(context.pool != nullptr, "{} needs a thread pool; set ExecutionContext::pool", method);
  const TileIndexShape& shape = index.shape;
  Require(shape.batch >= wanted.batch && shape.q_heads == wanted.q_heads &&
              shape.heads_per_row == wanted.heads_per_row &&
              shape.query_block == wanted.query_block && shape.key_block == wanted.key_block &&
              shape.max_query_tokens >= wanted.max_query_tokens &&
              shape.max_key_tokens >= wanted.max_key_tokens,
          "{} writes an index of batch {}, {} heads ({} a row), blocks {} x {}, up to {} queries "
          "and {} keys; the buffer has batch {}, {} heads ({} a row), blocks {} x {}, {} queries "
          "and {} keys: take its shape from Selector::Shape",
          method, wanted.batch, wanted.q_heads, wanted.heads_per_row, wanted.query_block,
          wanted.key_block, wanted.max_query_tokens, wanted.max_key_tokens, shape.batch,
          shape.q_heads, shape.heads_per_row, shape.query_block, shape.key_block,
          shape.max_query_tokens, shape.max_key_tokens);
  for (int32_t b = 0; b < arguments.batch; ++b) {
    const SequenceView sequence(arguments, b);
    Require(sequence.queries() >= 0 && sequence.queries() <= arguments.query_tokens,
            "sequence {} has {} queries; query_tokens allows 0 to {}", b, sequence.queries(),
            arguments.query_tokens);
    Require(sequence.keys() >= 0 && sequence.keys() <= arguments.key_tokens,
            "sequence {} has {} keys; key_tokens allows 0 to {}", b, sequence.keys(),
            arguments.key_tokens);
  }
}

void ClearIndex(const TileIndexBuffer& index) {
  std::fill_n(index.bitmap, index.shape.rows() * index.shape.row_words(), 0u);
  std::fill_n(index.counts, index.shape.rows(), 0);
}

void SetBlocks(const TileIndexBuffer& index, int64_t row, int32_t begin, int32_t end) {
  uint32_t* words = index.bitmap + row * index.shape.row_words();
  for (int32_t block = begin; block < end; ++block) words[block / 32] |= 1u << (block % 32);
}

void CountBlocks(const TileIndexBuffer& index, int64_t row) {
  const int32_t row_words = index.shape.row_words();
  const uint32_t* words = index.bitmap + row * row_words;
  int32_t count = 0;
  for (int32_t word = 0; word < row_words; ++word) count += std::popcount(words[word]);
  index.counts[row] = count;
}

}  // namespace tamis
