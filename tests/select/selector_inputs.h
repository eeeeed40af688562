// Attention calls with synthetic Q and K for selector tests.
#ifndef TAMIS_SELECT_SELECTOR_INPUTS_H_
#define TAMIS_SELECT_SELECTOR_INPUTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "attention/tile_index_storage.h"
#include "tamis/attention.h"
#include "tamis/selector.h"

namespace tamis {

enum class Rows { kUniform, kHeadMajor, kRagged, kPaged };

struct InputShape {
  std::vector<int32_t> queries = {256};  ///< of each sequence
  std::vector<int32_t> keys = {256};
  int32_t q_heads = 2;
  int32_t kv_heads = 1;
  int32_t head_dim = 32;
  DType dtype = DType::kF32;
  DType kv_dtype = DType::kF32;
  Rows rows = Rows::kUniform;
};

/// Element c of row (sequence, row, head).
using RowValues = std::function<float(int32_t b, int32_t row, int32_t head, int32_t c)>;

/// Gaussian rows with a shared direction that keys hold in different amounts block by block, so
/// that masses of blocks differ clearly.
RowValues StructuredQueries(uint32_t seed);
RowValues StructuredKeys(uint32_t seed);

/// A call and the memory behind it. Values beyond a sequence's end are NaN, so that reading them
/// shows.
class SelectorInputs {
 public:
  SelectorInputs(const InputShape& shape, const RowValues& q, const RowValues& k);
  SelectorInputs(const SelectorInputs&) = delete;
  SelectorInputs& operator=(const SelectorInputs&) = delete;

  /// Keys' positions etc. may be changed by the test.
  AttentionArguments arguments;

 private:
  std::vector<unsigned char> q_, k_;
  std::vector<int32_t> query_offsets_, key_offsets_, key_lengths_, query_starts_, page_table_;
};

/// Runs the selector with exactly the workspace it asks for, into memory that was not zero.
/// `maxima` null: the call's own arguments.
TileIndexStorage Select(const Selector& selector, const AttentionArguments& arguments, int threads,
                        CpuIsa isa = DetectCpuIsa(), const AttentionArguments* maxima = nullptr);

/// The key blocks of one row, ascending.
std::vector<int32_t> BlocksOf(const TileIndexStorage& index, int32_t b, int32_t q_head,
                              int32_t query_block);

}  // namespace tamis

#endif  // TAMIS_SELECT_SELECTOR_INPUTS_H_
