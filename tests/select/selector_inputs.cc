#include "select/selector_inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/aligned_buffer.h"

namespace tamis {
namespace {

/// A hash of the arguments spread over (0, 1): values do not depend on the order they are asked in.
double Uniform(uint32_t seed, uint32_t b, uint32_t row, uint32_t head, uint32_t c) {
  uint64_t x = seed;
  for (uint32_t value : {b, row, head, c}) {
    x = (x ^ value) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
  }
  return (static_cast<double>(x >> 11) + 0.5) * 0x1p-53;
}

float Gaussian(uint32_t seed, int32_t b, int32_t row, int32_t head, int32_t c) {
  const double radius = std::sqrt(-2.0 * std::log(Uniform(seed, b, row, head, c)));
  return static_cast<float>(radius *
                            std::cos(2.0 * 3.14159265358979 * Uniform(seed + 1, b, row, head, c)));
}

float Direction(int32_t c) { return c % 3 == 0 ? 0.5f : -0.25f; }

}  // namespace

RowValues StructuredQueries(uint32_t seed) {
  return [seed](int32_t b, int32_t row, int32_t head, int32_t c) {
    return Gaussian(seed, b, row, head, c) + 2.0f * Direction(c);
  };
}

RowValues StructuredKeys(uint32_t seed) {
  return [seed](int32_t b, int32_t row, int32_t head, int32_t c) {
    const double share = Uniform(seed + 7, b, row / 128, head, 0);
    return Gaussian(seed, b, row, head, c) + static_cast<float>(3.0 * share) * Direction(c);
  };
}

SelectorInputs::SelectorInputs(const InputShape& shape, const RowValues& q, const RowValues& k) {
  constexpr int32_t kPage = 48;  // divides neither strides nor blocks
  const auto batch = static_cast<int32_t>(shape.queries.size());
  const int32_t d = shape.head_dim;
  AttentionArguments& a = arguments;
  a.batch = batch;
  a.q_heads = shape.q_heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = d;
  a.dtype = shape.dtype;
  a.kv_dtype = shape.kv_dtype;
  a.query_tokens = std::ranges::max(shape.queries);
  a.key_tokens = std::ranges::max(shape.keys);
  const bool ragged = shape.rows == Rows::kRagged;
  const bool paged = shape.rows == Rows::kPaged;

  query_offsets_.push_back(0);
  key_offsets_.push_back(0);
  for (int32_t b = 0; b < batch; ++b) {
    query_offsets_.push_back(query_offsets_.back() + shape.queries[b]);
    key_offsets_.push_back(key_offsets_.back() + shape.keys[b]);
    key_lengths_.push_back(shape.keys[b]);
  }
  const auto strides = [&](int32_t tokens, int32_t heads) {
    if (shape.rows == Rows::kHeadMajor) {
      return Strides{int64_t{heads} * tokens * d, d, int64_t{tokens} * d};
    }
    return Strides{int64_t{tokens} * heads * d, int64_t{heads} * d, d};
  };
  const auto fill = [&](DType dtype, std::vector<unsigned char>& memory, int64_t rows,
                        int32_t heads) {
    const std::vector<float> nan(rows * heads * d, std::numeric_limits<float>::quiet_NaN());
    memory.resize(nan.size() * SizeOf(dtype));
    if (!nan.empty()) ConvertFromFloat(dtype, nan.data(), memory.data(), nan.size());
  };
  const auto write = [&](DType dtype, std::vector<unsigned char>& memory, int64_t offset, int32_t b,
                         int32_t row, int32_t head, const RowValues& values) {
    std::vector<float> line(d);
    for (int32_t c = 0; c < d; ++c) line[c] = values(b, row, head, c);
    ConvertFromFloat(dtype, line.data(), memory.data() + offset * SizeOf(dtype), d);
  };

  a.q.stride = strides(a.query_tokens, shape.q_heads);
  fill(shape.dtype, q_, ragged ? query_offsets_.back() : int64_t{batch} * a.query_tokens,
       shape.q_heads);
  for (int32_t b = 0; b < batch; ++b) {
    for (int32_t row = 0; row < shape.queries[b]; ++row) {
      const int64_t base =
          ragged ? int64_t{query_offsets_[b]} * a.q.stride.row : int64_t{b} * a.q.stride.batch;
      for (int32_t h = 0; h < shape.q_heads; ++h) {
        write(shape.dtype, q_, base + row * a.q.stride.row + h * a.q.stride.head, b, row, h, q);
      }
    }
  }
  a.q.data = q_.data();

  const int32_t pages_each = (a.key_tokens + kPage - 1) / kPage;
  const Strides key_strides =
      paged ? Strides{int64_t{kPage} * shape.kv_heads * d, int64_t{shape.kv_heads} * d, d}
            : strides(a.key_tokens, shape.kv_heads);
  if (paged) {
    for (int32_t i = 0; i < batch * pages_each; ++i) {
      page_table_.push_back(batch * pages_each - 1 - i);  // pages in reverse
    }
  }
  fill(shape.kv_dtype, k_,
       ragged  ? key_offsets_.back()
       : paged ? int64_t{batch} * pages_each * kPage
               : int64_t{batch} * a.key_tokens,
       shape.kv_heads);
  for (int32_t b = 0; b < batch; ++b) {
    for (int32_t row = 0; row < shape.keys[b]; ++row) {
      int64_t base = int64_t{b} * key_strides.batch + row * key_strides.row;
      if (ragged) base = (int64_t{key_offsets_[b]} + row) * key_strides.row;
      if (paged) {
        base = page_table_[b * pages_each + row / kPage] * key_strides.batch +
               row % kPage * key_strides.row;
      }
      for (int32_t h = 0; h < shape.kv_heads; ++h) {
        write(shape.kv_dtype, k_, base + h * key_strides.head, b, row, h, k);
      }
    }
  }
  if (paged) {
    a.paged = {.page_size = kPage,
               .page_count = batch * pages_each,
               .page_table = page_table_.data(),
               .table_stride = pages_each,
               .k = {k_.data(), key_strides}};
  } else {
    a.k = {k_.data(), key_strides};
  }
  if (ragged) {
    a.query_offsets = query_offsets_.data();
    a.key_offsets = key_offsets_.data();
  } else {
    a.key_lengths = key_lengths_.data();
  }
}

TileIndexStorage Select(const Selector& selector, const AttentionArguments& arguments, int threads,
                        CpuIsa isa, const AttentionArguments* maxima) {
  if (maxima == nullptr) maxima = &arguments;
  ThreadPool pool(threads);
  const ExecutionContext context{.pool = &pool, .isa = isa};
  TileIndexStorage index(selector.Shape(*maxima));
  const TileIndexShape& shape = index.shape();
  std::fill_n(index.bitmap(), shape.rows() * shape.row_words(), 0xa5a5a5a5u);
  std::fill_n(index.counts(), shape.rows(), -7);
  const size_t bytes = selector.WorkspaceBytes(*maxima, context);
  // The buffer ends less than 64 bytes past the workspace: the address sanitizer sees overruns.
  const AlignedBuffer workspace(bytes);
  if (bytes != 0) std::memset(workspace.data(), 0xff, bytes);
  selector.Select(arguments, {shape, index.bitmap(), index.counts()}, workspace.data(), context);
  for (int64_t row = 0; row < shape.rows(); ++row) {
    int32_t bits = 0;
    for (int32_t word = 0; word < shape.row_words(); ++word) {
      bits += std::popcount(index.bitmap()[row * shape.row_words() + word]);
    }
    EXPECT_EQ(index.counts()[row], bits) << "row " << row;
  }
  return index;
}

std::vector<int32_t> BlocksOf(const TileIndexStorage& index, int32_t b, int32_t q_head,
                              int32_t query_block) {
  const int64_t row = index.shape().Row(b, q_head, query_block);
  std::vector<int32_t> blocks;
  for (int32_t j = 0; j < index.shape().row_words() * 32; ++j) {
    if (index.HasBlock(row, j)) blocks.push_back(j);
  }
  return blocks;
}

}  // namespace tamis
