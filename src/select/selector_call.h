// What every selector checks and writes.
#ifndef TAMIS_SELECT_SELECTOR_CALL_H_
#define TAMIS_SELECT_SELECTOR_CALL_H_

#include <cstdint>
#include <string_view>

#include "tamis/attention.h"
#include "tamis/selector.h"

namespace tamis {

/// The shape of an index with one row per query head for calls no larger than `maxima`.
TileIndexShape PerHeadShape(const AttentionArguments& maxima, int32_t query_block,
                            int32_t key_block);

/// Throws Error unless the context is a CPU with a pool, `index` fits a call of the shape
/// `wanted` (same heads and blocks, at least its size), and no sequence is longer than
/// query_tokens and key_tokens say. `method` opens the message.
void CheckCall(std::string_view method, const AttentionArguments& arguments,
               const TileIndexShape& wanted, const TileIndexBuffer& index,
               const ExecutionContext& context);

/// Makes every row of `index` visit nothing.
void ClearIndex(const TileIndexBuffer& index);

/// Visits key blocks [begin, end) in row `row`.
void SetBlocks(const TileIndexBuffer& index, int64_t row, int32_t begin, int32_t end);

/// Sets counts[row] from the bitmap.
void CountBlocks(const TileIndexBuffer& index, int64_t row);

}  // namespace tamis

#endif  // TAMIS_SELECT_SELECTOR_CALL_H_
