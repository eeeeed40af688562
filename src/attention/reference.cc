#include "attention/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "attention/sequence_view.h"

namespace tamis {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

double ReadElement(DType dtype, const void* data, int64_t offset) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[offset];
    case DType::kBF16:
      return ToFloat(static_cast<const BFloat16*>(data)[offset]);
    case DType::kF16:
      return ToFloat(static_cast<const Float16*>(data)[offset]);
  }
  return 0.0;
}

std::vector<double> ReadRow(DType dtype, const void* data, int64_t offset, int32_t dim) {
  std::vector<double> row(dim);
  for (int32_t d = 0; d < dim; ++d) row[d] = ReadElement(dtype, data, offset + d);
  return row;
}

bool Allows(const AttentionArguments& a, const SequenceView& sequence, int32_t b, int32_t head,
            int32_t query, int32_t key) {
  const int64_t q = sequence.QueryPosition(query);
  const int64_t k = sequence.KeyPosition(key);
  const AttentionMask& mask = a.mask;
  if (mask.causality == Causality::kCausal && k > q) return false;
  if (mask.causality == Causality::kBlockCausal &&
      FloorDivide(k, mask.causal_block) > FloorDivide(q, mask.causal_block)) {
    return false;
  }
  if (k >= mask.sink_tokens) {
    if (mask.window_left >= 0 && q - k > mask.window_left) return false;
    if (mask.window_right >= 0 && k - q > mask.window_right) return false;
  }
  if (mask.keep != nullptr && mask.keep[b * mask.keep_batch_stride + head * mask.keep_head_stride +
                                        query * mask.keep_query_stride + key] == 0) {
    return false;
  }
  const AttentionBias& bias = a.bias;
  return bias.data == nullptr ||
         bias.data[b * bias.batch_stride + head * bias.head_stride + query * bias.query_stride +
                   key] > -std::numeric_limits<float>::infinity();
}

/// The keys of one step of a row's walk, ascending.
struct Tile {
  int32_t block = 0;      // key block; of gathered tiles the number of blocks
  bool gathered = false;  // columns outside blocks and windows
  std::vector<int32_t> keys;
};

/// What index row `row` visits, in TileIndex order. `index` null: every key.
std::vector<Tile> VisitedTiles(const TileIndex* index, int64_t row, int32_t keys,
                               int32_t tile_columns) {
  const int32_t blocks = (keys + tile_columns - 1) / tile_columns;
  std::vector<bool> visited(keys, index == nullptr);
  std::vector<int32_t> gathered;
  if (index != nullptr) {
    const uint32_t* bitmap = index->bitmap + row * index->shape.row_words();
    for (int32_t key = 0; key < keys; ++key) {
      const int32_t block = key / tile_columns;
      visited[key] = (bitmap[block / 32] >> (block % 32) & 1u) != 0;
    }
    if (index->window_offsets != nullptr) {
      for (int64_t i = index->window_offsets[row]; i < index->window_offsets[row + 1]; ++i) {
        const KeyWindow window = index->windows[i];
        std::fill(visited.begin() + window.begin, visited.begin() + window.end, true);
      }
    }
    if (index->column_offsets != nullptr) {
      for (int64_t i = index->column_offsets[row]; i < index->column_offsets[row + 1]; ++i) {
        if (!visited[index->columns[i]]) gathered.push_back(index->columns[i]);
      }
    }
  }
  std::vector<Tile> tiles;
  for (int32_t block = 0; block < blocks; ++block) {
    Tile tile{.block = block};
    const int32_t end = std::min(keys, (block + 1) * tile_columns);
    for (int32_t key = block * tile_columns; key < end; ++key) {
      if (visited[key]) tile.keys.push_back(key);
    }
    if (!tile.keys.empty()) tiles.push_back(std::move(tile));
  }
  for (size_t first = 0; first < gathered.size(); first += tile_columns) {
    const size_t end = std::min(gathered.size(), first + tile_columns);
    tiles.push_back({.block = blocks,
                     .gathered = true,
                     .keys = {gathered.begin() + first, gathered.begin() + end}});
  }
  return tiles;
}

struct Score {
  int32_t key;
  double value;
  double magnitude;
};

/// One query row of one head on its walk over the tiles.
struct Row {
  int32_t head;
  int32_t query;
  std::vector<double> q;
  std::vector<Score> tile;  // visible scores of the current tile, then those N:M keeps
  std::vector<Score> kept;  // of all tiles so far
  double running_max = -kInfinity;
  double running_magnitude = 0.0;
};

class Reference {
 public:
  Reference(const AttentionArguments& arguments, const TileIndex* index, const TileRule& rule)
      : a_(arguments), index_(index), rule_(rule), sizes_(TileSizesOf(index, rule)) {
    const int64_t rows = int64_t{a_.batch} * a_.q_heads * a_.query_tokens;
    result_.o.assign(rows * a_.dim_v(), 0.0);
    result_.lse.assign(rows, -kInfinity);
    result_.executed.assign(rows * executed_words(), 0u);
    result_.counts.resize(int64_t{a_.batch} * a_.q_heads);
  }

  ReferenceResult Run() {
    for (int32_t b = 0; b < a_.batch; ++b) {
      for (int32_t kv_head = 0; kv_head < a_.kv_heads; ++kv_head) RunKvHead(b, kv_head);
    }
    WriteOutputs();
    return std::move(result_);
  }

 private:
  int64_t executed_words() const { return (a_.key_tokens + 31) / 32; }
  int64_t ResultRow(int32_t b, int32_t head, int32_t query) const {
    return (int64_t{b} * a_.q_heads + head) * a_.query_tokens + query;
  }
  AttentionCounts& Counts(int32_t b, int32_t head) {
    return result_.counts[int64_t{b} * a_.q_heads + head];
  }

  void RunKvHead(int32_t b, int32_t kv_head) {
    const SequenceView sequence(a_, b);
    const bool paged = a_.paged.page_size != 0;
    const ConstTensor& k = paged ? a_.paged.k : a_.k;
    const ConstTensor& v = paged ? a_.paged.v : a_.v;
    k_.clear();
    v_.clear();
    for (int32_t key = 0; key < sequence.keys(); ++key) {
      k_.push_back(
          ReadRow(a_.kv_dtype, k.data, sequence.KeyOffset(k.stride, key, kv_head), a_.head_dim));
      v_.push_back(
          ReadRow(a_.kv_dtype, v.data, sequence.KeyOffset(v.stride, key, kv_head), a_.dim_v()));
    }
    const float* lambda = rule_.skip_softmax.lambda;
    const int32_t first_head = kv_head * a_.group();
    for (int32_t head = first_head; head < first_head + a_.group(); ++head) {
      Counts(b, head).lambda_saturated = lambda != nullptr && lambda[b] >= 1.0f;
    }
    const bool group_votes =
        lambda != nullptr && rule_.skip_softmax.geometry.vote == SkipVote::kGqaGroup;
    const int32_t heads = group_votes ? a_.group() : 1;
    for (int32_t head = first_head; head < first_head + a_.group(); head += heads) {
      for (int32_t query = 0; query < sequence.queries(); query += sizes_.rows) {
        RunTileRow(b, sequence, head, heads, query,
                   std::min(query + sizes_.rows, sequence.queries()));
      }
    }
  }

  /// Rows [first, end) of query heads [first_head, first_head + heads), which vote together.
  void RunTileRow(int32_t b, const SequenceView& sequence, int32_t first_head, int32_t heads,
                  int32_t first, int32_t end) {
    std::vector<Row> rows;
    for (int32_t head = first_head; head < first_head + heads; ++head) {
      for (int32_t query = first; query < end; ++query) {
        rows.push_back({.head = head,
                        .query = query,
                        .q = ReadRow(a_.dtype, a_.q.data,
                                     sequence.QueryOffset(a_.q.stride, query, head), a_.head_dim)});
        for (int32_t key = 0; key < sequence.keys(); ++key) {
          Counts(b, head).allowed_pairs += Allows(a_, sequence, b, head, query, key);
        }
      }
    }
    const int64_t index_row =
        index_ == nullptr ? 0 : index_->shape.Row(b, first_head, first / index_->shape.query_block);
    const float lambda = rule_.skip_softmax.lambda != nullptr ? rule_.skip_softmax.lambda[b] : 0.0f;
    int32_t split = 0;
    std::vector<Tile> tiles = VisitedTiles(index_, index_row, sequence.keys(), sizes_.columns);
    if (rule_.skip_softmax.lambda != nullptr &&
        rule_.skip_softmax.geometry.order == KeyOrder::kDescending) {
      std::reverse(tiles.begin(), tiles.end());
    }
    for (const Tile& tile : tiles) {
      if (SplitOf(tile, sequence) != split) {
        split = SplitOf(tile, sequence);
        for (Row& row : rows) row.running_max = -kInfinity, row.running_magnitude = 0.0;
      }
      std::vector<bool> seen(heads, false);  // heads with an allowed pair in this tile
      for (Row& row : rows) {
        ScoreTile(b, sequence, tile, row);
        Counts(b, row.head).visited_pairs += static_cast<int64_t>(row.tile.size());
        if (!row.tile.empty()) seen[row.head - first_head] = true;
        if (ThinsTile(sequence, tile, first)) Thin(b, sequence, row);
      }
      const bool skipped = lambda > 0.0f && lambda < 1.0f &&
                           Skips(b, tile, rows, std::log(static_cast<double>(lambda)));
      for (int32_t h = 0; h < heads; ++h) {
        Counts(b, first_head + h).visited_tiles += seen[h];
        Counts(b, first_head + h).skipped_tiles += seen[h] && skipped;
      }
      if (!skipped) {
        for (Row& row : rows) KeepTile(row);
      }
    }
    for (const Row& row : rows) FinishRow(b, row);
  }

  /// The split a tile belongs to: split s holds tiles [s * T / splits, (s + 1) * T / splits).
  int32_t SplitOf(const Tile& tile, const SequenceView& sequence) const {
    if (rule_.skip_softmax.lambda == nullptr) return 0;
    const int64_t splits = rule_.skip_softmax.geometry.splits;
    if (tile.gathered) return static_cast<int32_t>(splits - 1);
    const int64_t tiles = (sequence.keys() + sizes_.columns - 1) / sizes_.columns;
    int64_t s = 0;
    while ((s + 1) * tiles / splits <= tile.block) ++s;
    return static_cast<int32_t>(s);
  }

  /// Visible scores of one row in one tile.
  void ScoreTile(int32_t b, const SequenceView& sequence, const Tile& tile, Row& row) const {
    const double scale = a_.softmax_scale != 0.0f ? a_.softmax_scale : 1 / std::sqrt(a_.head_dim);
    row.tile.clear();
    for (const int32_t key : tile.keys) {
      if (!Allows(a_, sequence, b, row.head, row.query, key)) continue;
      double dot = 0.0, magnitude = 0.0;
      for (int32_t d = 0; d < a_.head_dim; ++d) {
        dot += row.q[d] * k_[key][d];
        magnitude += std::abs(row.q[d] * k_[key][d]);
      }
      double score = scale * dot;
      if (a_.softcap > 0.0f) score = a_.softcap * std::tanh(score / a_.softcap);
      double bias = 0.0;
      if (a_.bias.data != nullptr) {
        bias = a_.bias.data[b * a_.bias.batch_stride + row.head * a_.bias.head_stride +
                            row.query * a_.bias.query_stride + key];
      }
      row.tile.push_back({key, score + bias, scale * magnitude + std::abs(bias)});
    }
  }

  bool ThinsTile(const SequenceView& sequence, const Tile& tile, int32_t first_query) const {
    const NOfMRule& rule = rule_.n_of_m;
    if (rule.n == 0 || tile.gathered) return false;
    if (sequence.phase() == Phase::kDecode && !rule.in_decode) return false;
    return !(rule.skip_diagonal_blocks && TouchesDiagonal(sequence, tile, first_query));
  }

  bool TouchesDiagonal(const SequenceView& sequence, const Tile& tile, int32_t first_query) const {
    const int32_t query_begin = first_query / sizes_.diagonal_rows * sizes_.diagonal_rows;
    const int32_t query_end = std::min(query_begin + sizes_.diagonal_rows, sequence.queries());
    const int32_t key_begin = tile.block * sizes_.columns;
    const int32_t key_end = std::min(key_begin + sizes_.columns, sequence.keys());
    return sequence.KeyPosition(key_begin) <= sequence.QueryPosition(query_end - 1) &&
           sequence.QueryPosition(query_begin) <= sequence.KeyPosition(key_end - 1);
  }

  /// N:M on the visible scores of one row in one tile.
  void Thin(int32_t b, const SequenceView& sequence, Row& row) {
    const NOfMRule& rule = rule_.n_of_m;
    const int64_t query_position = sequence.QueryPosition(row.query);
    std::vector<Score> kept;
    for (size_t begin = 0, end = 0; begin < row.tile.size(); begin = end) {
      const int64_t group = sequence.KeyPosition(row.tile[begin].key) / rule.m;
      while (end < row.tile.size() && sequence.KeyPosition(row.tile[end].key) / rule.m == group) {
        ++end;
      }
      std::vector<Score> best(row.tile.begin() + begin, row.tile.begin() + end);
      // Stable: of equal scores the lowest position stays first.
      std::stable_sort(best.begin(), best.end(), [](const Score& x, const Score& y) {
        return static_cast<float>(x.value) > static_cast<float>(y.value);
      });
      const size_t n = std::min<size_t>(rule.n, best.size());
      if (n < best.size()) {
        double magnitude = 0.0;
        for (const Score& score : best) magnitude = std::max(magnitude, score.magnitude);
        result_.n_of_m.push_back({.sequence = b,
                                  .head = row.head,
                                  .query = row.query,
                                  .first_key = row.tile[begin].key,
                                  .last_key = row.tile[end - 1].key,
                                  .gap = std::abs(best[n - 1].value - best[n].value),
                                  .magnitude = magnitude});
      }
      best.resize(n);
      for (size_t i = begin; i < end; ++i) {
        const Score& score = row.tile[i];
        const int64_t position = sequence.KeyPosition(score.key);
        const bool is_best = std::any_of(best.begin(), best.end(),
                                         [&](const Score& s) { return s.key == score.key; });
        const bool is_sink = position < rule.sink_tokens;
        const bool is_recent =
            query_position >= position && query_position - position < rule.recent_tokens;
        if (is_best || is_sink || is_recent) kept.push_back(score);
      }
    }
    row.tile = std::move(kept);
  }

  static double TileMax(const Row& row) {
    double max = -kInfinity;
    for (const Score& score : row.tile) max = std::max(max, score.value);
    return max;
  }

  /// The skip test over all voting rows; `rows` hold the tile's scores after N:M.
  bool Skips(int32_t b, const Tile& tile, const std::vector<Row>& rows, double log_lambda) {
    bool any_vote = false, all_below = true;
    double largest_lead = -kInfinity, magnitude = 0.0;
    for (const Row& row : rows) {
      if (row.tile.empty()) continue;  // no visible score: no vote
      any_vote = true;
      const double tile_max = TileMax(row);
      if (!(tile_max < row.running_max + log_lambda)) all_below = false;
      largest_lead = std::max(largest_lead, tile_max - row.running_max);
      magnitude = std::max(magnitude, row.running_magnitude);
      for (const Score& score : row.tile) magnitude = std::max(magnitude, score.magnitude);
    }
    if (!any_vote) return false;
    result_.skip.push_back({.sequence = b,
                            .first_head = rows.front().head,
                            .heads = rows.back().head - rows.front().head + 1,
                            .first_query = rows.front().query,
                            .queries = rows.back().query - rows.front().query + 1,
                            .first_key = tile.keys.front(),
                            .last_key = tile.keys.back(),
                            .gathered = tile.gathered,
                            .skipped = all_below,
                            .gap = std::abs(largest_lead - log_lambda),
                            .magnitude = magnitude});
    return all_below;
  }

  static void KeepTile(Row& row) {
    row.kept.insert(row.kept.end(), row.tile.begin(), row.tile.end());
    for (const Score& score : row.tile) {
      row.running_max = std::max(row.running_max, score.value);
      row.running_magnitude = std::max(row.running_magnitude, score.magnitude);
    }
  }

  /// Softmax over the kept scores.
  void FinishRow(int32_t b, const Row& row) {
    Counts(b, row.head).kept_pairs += static_cast<int64_t>(row.kept.size());
    if (row.kept.empty()) return;  // zeros and -inf, as initialised
    const int64_t result_row = ResultRow(b, row.head, row.query);
    const double sink = a_.sink_logits != nullptr ? a_.sink_logits[row.head] : -kInfinity;
    double max = sink;
    for (const Score& score : row.kept) max = std::max(max, score.value);
    double sum = std::exp(sink - max);
    for (const Score& score : row.kept) sum += std::exp(score.value - max);
    const double lse = max + std::log(sum);
    result_.lse[result_row] = lse;
    for (const Score& score : row.kept) {
      const double p = std::exp(score.value - lse);
      for (int32_t d = 0; d < a_.dim_v(); ++d) {
        result_.o[result_row * a_.dim_v() + d] += p * v_[score.key][d];
      }
      result_.executed[result_row * executed_words() + score.key / 32] |= 1u << (score.key % 32);
    }
  }

  void WriteOutputs() const {
    for (int32_t b = 0; b < a_.batch; ++b) {
      const SequenceView sequence(a_, b);
      for (int32_t head = 0; head < a_.q_heads; ++head) {
        for (int32_t query = 0; query < sequence.queries(); ++query) {
          WriteRow(sequence, head, query, ResultRow(b, head, query));
        }
      }
    }
    if (a_.counts != nullptr) {
      std::copy(result_.counts.begin(), result_.counts.end(), a_.counts);
    }
    if (a_.executed != nullptr) {
      std::copy(result_.executed.begin(), result_.executed.end(), a_.executed);
    }
  }

  void WriteRow(const SequenceView& sequence, int32_t head, int32_t query, int64_t row) const {
    if (a_.o.data != nullptr) {
      const std::vector<float> o(result_.o.begin() + row * a_.dim_v(),
                                 result_.o.begin() + (row + 1) * a_.dim_v());
      const int64_t offset = sequence.QueryOffset(a_.o.stride, query, head);
      ConvertFromFloat(a_.dtype, o.data(),
                       static_cast<char*>(a_.o.data) + offset * SizeOf(a_.dtype), o.size());
    }
    if (a_.lse != nullptr) {
      a_.lse[sequence.QueryOffset(a_.lse_stride, query, head)] =
          static_cast<float>(result_.lse[row]);
    }
  }

  const AttentionArguments& a_;
  const TileIndex* index_;
  const TileRule& rule_;
  const TileSizes sizes_;
  std::vector<std::vector<double>> k_, v_;  // rows of the current KV head
  ReferenceResult result_;
};

}  // namespace

bool MaskAllows(const AttentionArguments& arguments, int32_t b, int32_t q_head, int32_t query,
                int32_t key) {
  return Allows(arguments, SequenceView(arguments, b), b, q_head, query, key);
}

ReferenceResult ReferenceAttention(const AttentionArguments& arguments, const TileIndex* index,
                                   const TileRule& rule) {
  return Reference(arguments, index, rule).Run();
}

}  // namespace tamis
