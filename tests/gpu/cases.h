// What check runs against the reference.
#ifndef TAMIS_TESTS_GPU_CASES_H_
#define TAMIS_TESTS_GPU_CASES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attention/problem.h"
#include "attention/tile_index_storage.h"

namespace tamis::gpu_testing {

struct IndexOptions {
  enum class Kind : uint8_t {
    kRandom,    ///< blocks the mask hides among them
    kOneBlock,  ///< of each row
    kFull,
  };
  int32_t query_block = 128;
  int32_t key_block = 128;
  bool shared = false;  ///< a row for a whole GQA group
  Kind kind = Kind::kRandom;
  double density = 0.4;
  double empty_rows = 0.1;
};

struct Case {
  std::string name;
  attention_testing::ProblemOptions options;
  std::optional<IndexOptions> index = {};
  TileRule rule = {};
};

/// Without names of dtype and head dim, and without seeds.
std::vector<Case> DenseCases(bool quick);
std::vector<Case> ListCases(bool quick);
std::vector<Case> SparseCases(bool quick);

TileIndexStorage MakeIndex(const AttentionArguments& arguments, const IndexOptions& options,
                           uint64_t seed);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_CASES_H_
