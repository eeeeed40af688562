// What check runs against the reference.
#ifndef TAMIS_TESTS_GPU_CASES_H_
#define TAMIS_TESTS_GPU_CASES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attention/problem.h"
#include "attention/tile_index_storage.h"

namespace tamis::gpu_testing {

struct IndexOptions {
  enum class Kind : uint8_t {
    kRandom,    ///< blocks the mask hides among them
    kOneBlock,  ///< of each row
    kFull,
    kFullWindows,  ///< every key, by one window a row
  };
  int32_t query_block = 128;
  int32_t key_block = 128;
  bool shared = false;  ///< a row for a whole GQA group
  Kind kind = Kind::kRandom;
  double density = 0.4;
  double empty_rows = 0.1;
  int32_t windows = 0;      ///< at most, per row; the last ends with the keys
  int32_t window_keys = 0;  ///< of every window; 0: up to one and a half blocks
  int32_t columns = 0;      ///< of each row, as far as there are keys
};

struct IndexGeometry {
  int32_t query_block, key_block;
  bool shared;
};
inline constexpr IndexGeometry kIndexGeometries[] = {
    {128, 128, false}, {128, 128, true}, {128, 64, false}, {128, 64, true},
    {64, 128, false},  {64, 128, true},  {64, 64, false},  {64, 64, true}};

struct Case {
  std::string name;
  attention_testing::ProblemOptions options;
  std::optional<IndexOptions> index = {};
  TileRule rule = {};
  /// Of skip-softmax, a sequence after the other, from the first again where there are more
  /// sequences. Empty: no rule.
  std::vector<float> lambda = {};
};

/// A case with an index in one geometry, named after its kind.
Case InGeometry(Case c, std::string_view kind, const IndexGeometry& geometry, DType dtype,
                int32_t head_dim);

/// Without names of dtype and head dim, and without seeds.
std::vector<Case> DenseCases(bool quick);
std::vector<Case> ListCases(bool quick);
std::vector<Case> SparseCases(bool quick);
std::vector<Case> GatherCases(bool quick);
std::vector<Case> SkipCases(bool quick);
std::vector<Case> GatherRuleCases(bool quick);

/// "2:4 sinks 5", for names.
std::string RuleName(const NOfMRule& rule);

void AddWindowsAndColumns(const AttentionArguments& arguments, const IndexOptions& options,
                          uint64_t seed, TileIndexStorage& index);
TileIndexStorage MakeIndex(const AttentionArguments& arguments, const IndexOptions& options,
                           uint64_t seed);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_CASES_H_
