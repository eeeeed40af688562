// Random tile indices that pass validation.
#ifndef TAMIS_TESTS_ATTENTION_RANDOM_INDEX_H_
#define TAMIS_TESTS_ATTENTION_RANDOM_INDEX_H_

#include <cstdint>

#include "attention/tile_index_storage.h"
#include "tamis/attention.h"

namespace tamis::attention_testing {

struct RandomIndexOptions {
  int32_t query_block = 128;
  int32_t key_block = 128;
  int32_t heads_per_row = 1;
  double density = 0.5;     ///< chance of each key block
  double empty_rows = 0.0;  ///< chance of a row that names nothing
  int32_t windows = 0;      ///< at most, per row
  int32_t columns = 0;      ///< at most, per row
  uint64_t seed = 1;
};

TileIndexStorage RandomIndex(const AttentionArguments& arguments,
                             const RandomIndexOptions& options);

}  // namespace tamis::attention_testing

#endif  // TAMIS_TESTS_ATTENTION_RANDOM_INDEX_H_
