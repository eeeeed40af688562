#include "attention/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "attention/sequence_view.h"
#include "base/check.h"

namespace tamis::attention_testing {
namespace {

constexpr double kPi = 3.14159265358979323846;

std::vector<int32_t> PrefixSums(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> offsets(1, 0);
  for (const int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

std::vector<double> RandomRow(Values values, int32_t dim, int32_t largest_integer, Rng& rng) {
  std::vector<double> row(dim);
  for (double& x : row) {
    x = values == Values::kIntegers ? rng.Below(2 * largest_integer + 1) - largest_integer
                                    : rng.Normal();
  }
  return row;
}

/// A unit vector in the upper half of the dimensions; AddBand uses the lower.
std::vector<double> RandomDirection(int32_t dim, Rng& rng) {
  std::vector<double> direction(dim, 0.0);
  double norm = 0.0;
  for (int32_t d = dim / 2; d < dim; ++d) {
    direction[d] = rng.Normal();
    norm += direction[d] * direction[d];
  }
  for (double& x : direction) x /= std::sqrt(norm);
  return direction;
}

void AddScaled(double scale, const std::vector<double>& x, std::vector<double>& row) {
  for (size_t d = 0; d < row.size(); ++d) row[d] += scale * x[d];
}

/// Adds features whose dot product peaks where positions agree, at `peak` * sqrt(dim).
void AddBand(double position, double peak, std::vector<double>& row) {
  const int32_t pairs = static_cast<int32_t>(row.size()) / 4;
  const double amplitude = std::sqrt(peak * std::sqrt(row.size()) / pairs);
  for (int32_t i = 0; i < pairs; ++i) {
    const double frequency = std::pow(0.02, static_cast<double>(i) / pairs);
    row[2 * i] += amplitude * std::cos(frequency * position);
    row[2 * i + 1] += amplitude * std::sin(frequency * position);
  }
}

/// Turns Gaussian rows into attention as trained models show it: a few sinks, a local band and rare
/// stripes and needles stand out of weak noise. Peaks are scores at the default scale.
void AddStructure(const SequenceView& sequence, std::vector<std::vector<double>>& k,
                  std::vector<std::vector<std::vector<double>>>& q_of_head, Rng& rng) {
  constexpr double kQueryPart = 6.0;
  constexpr double kSink = 10.0, kBand = 8.0, kStripe = 7.0, kNeedle = 10.0;
  if (k.empty()) return;
  const auto dim = static_cast<int32_t>(k[0].size());
  const double key_part = std::sqrt(dim) / kQueryPart;
  const auto weaken = [](std::vector<std::vector<double>>& rows) {
    for (std::vector<double>& row : rows) {
      for (double& x : row) x *= 0.5;
    }
  };
  weaken(k);
  const std::vector<double> common = RandomDirection(dim, rng);
  for (size_t j = 0; j < k.size(); ++j) {
    AddBand(static_cast<double>(sequence.KeyPosition(static_cast<int32_t>(j))), kBand, k[j]);
    if (j < 4) AddScaled(kSink * key_part, common, k[j]);
    if (rng.Below(512) == 0) AddScaled(kStripe * key_part, common, k[j]);
  }
  const std::vector<double> needle = RandomDirection(dim, rng);
  AddScaled(kNeedle * key_part, needle, k[rng.Below(static_cast<int32_t>(k.size()))]);
  for (std::vector<std::vector<double>>& q : q_of_head) {
    if (q.empty()) continue;
    weaken(q);
    const auto first = static_cast<size_t>(rng.Below(static_cast<int32_t>(q.size())));
    for (size_t i = 0; i < q.size(); ++i) {
      AddBand(static_cast<double>(sequence.QueryPosition(static_cast<int32_t>(i))), kBand, q[i]);
      AddScaled(kQueryPart, common, q[i]);
      if (i >= first && i < first + 64) AddScaled(kQueryPart, needle, q[i]);
    }
  }
}

}  // namespace

double Rng::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * kPi * Uniform());
}

AttentionArguments WithoutOutputs(AttentionArguments arguments) {
  arguments.o.data = nullptr;
  arguments.lse = nullptr;
  arguments.counts = nullptr;
  arguments.executed = nullptr;
  return arguments;
}

void Problem::Tensor::Poison() {
  const std::vector<float> poison(elements, std::numeric_limits<float>::quiet_NaN());
  ConvertFromFloat(dtype, poison.data(), buffer.data(), poison.size());
}

void Problem::Tensor::Set(int64_t offset, const std::vector<double>& row) {
  const std::vector<float> values(row.begin(), row.end());
  ConvertFromFloat(dtype, values.data(), buffer.as<char>() + offset * SizeOf(dtype), row.size());
}

double Problem::Tensor::Get(int64_t offset) const {
  float value = 0.0f;
  ConvertToFloat(dtype, buffer.as<char>() + offset * SizeOf(dtype), &value, 1);
  return value;
}

Problem::Tensor Problem::MakeTensor(Layout layout, DType dtype, int64_t batch, int64_t rows,
                                    int64_t heads, int64_t dim) {
  Tensor tensor;
  tensor.dtype = dtype;
  Strides& stride = tensor.stride;
  switch (layout) {
    case Layout::kTokensHeads:
      stride = {.batch = rows * heads * dim, .row = heads * dim, .head = dim};
      break;
    case Layout::kHeadsTokens:
      stride = {.batch = rows * heads * dim, .row = dim, .head = rows * dim};
      break;
    case Layout::kPadded:
      stride.head = dim + 3;
      stride.row = heads * stride.head + 5;
      stride.batch = rows * stride.row + 7;
      break;
  }
  tensor.elements = std::max<int64_t>(1, batch * std::max(stride.batch, rows * stride.row));
  tensor.buffer.Reserve(tensor.elements * SizeOf(dtype));
  tensor.Poison();
  return tensor;
}

Problem::Problem(const ProblemOptions& options) {
  // Streams of their own, so that the same seed gives the same values in every layout.
  Rng value_rng(options.seed), layout_rng(options.seed + 1000003), mask_rng(options.seed + 2000003);
  arguments.batch = options.batch;
  arguments.q_heads = options.q_heads;
  arguments.kv_heads = options.kv_heads;
  arguments.head_dim = options.head_dim;
  arguments.value_head_dim = options.value_head_dim;
  arguments.dtype = options.dtype;
  arguments.kv_dtype = options.kv_dtype;
  arguments.softmax_scale = options.softmax_scale == 0.0f && options.values == Values::kIntegers
                                ? 0.125f
                                : options.softmax_scale;
  arguments.softcap = options.softcap;
  arguments.phase = options.phase;
  if (!options.phases.empty()) {
    phases_ = options.phases;
    arguments.phases = phases_.data();
  }
  MakeLengths(options);
  MakePositions(options, layout_rng);
  if (options.page_size > 0) MakePages(options, layout_rng);
  MakeTensors(options);
  MakeMask(options, mask_rng);
  for (int32_t b = 0; b < options.batch; ++b) {
    for (int32_t kv_head = 0; kv_head < options.kv_heads; ++kv_head) {
      FillSequence(options, b, kv_head, value_rng);
    }
  }
  PoisonOutputs();
}

void Problem::MakeLengths(const ProblemOptions& options) {
  AttentionArguments& a = arguments;
  a.query_tokens = options.query_tokens;
  a.key_tokens = options.key_tokens;
  if (!options.query_lengths.empty()) {
    a.query_tokens = *std::max_element(options.query_lengths.begin(), options.query_lengths.end());
    query_offsets_ = PrefixSums(options.query_lengths);
    a.query_offsets = query_offsets_.data();
  }
  if (!options.key_lengths.empty()) {
    a.key_tokens = *std::max_element(options.key_lengths.begin(), options.key_lengths.end());
    if (options.packed_keys) {
      key_offsets_ = PrefixSums(options.key_lengths);
      a.key_offsets = key_offsets_.data();
    } else {
      key_lengths_ = options.key_lengths;
      a.key_lengths = key_lengths_.data();
    }
  }
}

void Problem::MakePositions(const ProblemOptions& options, Rng& rng) {
  AttentionArguments& a = arguments;
  query_starts_ = options.query_starts;
  if (options.key_positions) {
    const bool align = query_starts_.empty();
    key_positions_.assign(
        key_offsets_.empty() ? int64_t{a.batch} * a.key_tokens : key_offsets_.back(), -1);
    for (int32_t b = 0; b < a.batch; ++b) {
      const SequenceView sequence(a, b);
      int32_t* positions = key_positions_.data() +
                           (key_offsets_.empty() ? int64_t{b} * a.key_tokens : key_offsets_[b]);
      int32_t next = rng.Below(3);
      for (int32_t j = 0; j < sequence.keys(); ++j) {
        positions[j] = next;
        next += rng.Below(4) == 0 ? 1 + rng.Below(11) : 1;
      }
      if (align) query_starts_.push_back(next - sequence.queries());
    }
    a.key_positions = key_positions_.data();
  }
  if (!query_starts_.empty()) a.query_starts = query_starts_.data();
}

void Problem::MakePages(const ProblemOptions& options, Rng& rng) {
  AttentionArguments& a = arguments;
  const int32_t most = (a.key_tokens + options.page_size - 1) / options.page_size;
  a.paged.page_size = options.page_size;
  a.paged.page_count = a.batch * most + 2;
  a.paged.table_stride = most + 1;
  std::vector<int32_t> pages(a.paged.page_count);
  std::iota(pages.begin(), pages.end(), 0);
  for (int32_t i = a.paged.page_count - 1; i > 0; --i) std::swap(pages[i], pages[rng.Below(i + 1)]);
  page_table_.assign(a.batch * a.paged.table_stride, -1);
  size_t used = 0;
  for (int32_t b = 0; b < a.batch; ++b) {
    const int32_t keys = SequenceView(a, b).keys();
    for (int32_t i = 0; i * options.page_size < keys; ++i) {
      page_table_[b * a.paged.table_stride + i] = pages[used++];
    }
  }
  a.paged.page_table = page_table_.data();
}

void Problem::MakeTensors(const ProblemOptions& options) {
  AttentionArguments& a = arguments;
  const bool packed_q = a.query_offsets != nullptr, packed_k = a.key_offsets != nullptr;
  const int32_t q_batch = packed_q ? 1 : a.batch;
  const int32_t q_rows = packed_q ? query_offsets_.back() : a.query_tokens;
  q_ = MakeTensor(options.layout, a.dtype, q_batch, q_rows, a.q_heads, a.head_dim);
  o_ = MakeTensor(options.layout, a.dtype, q_batch, q_rows, a.q_heads, a.dim_v());
  lse_ = MakeTensor(options.layout, DType::kF32, q_batch, q_rows, a.q_heads, 1);
  const bool paged = options.page_size > 0;
  const int32_t k_batch = paged ? a.paged.page_count : packed_k ? 1 : a.batch;
  const int32_t k_rows =
      paged ? options.page_size : (packed_k ? key_offsets_.back() : a.key_tokens);
  k_ = MakeTensor(options.layout, a.kv_dtype, k_batch, k_rows, a.kv_heads, a.head_dim);
  v_ = MakeTensor(options.layout, a.kv_dtype, k_batch, k_rows, a.kv_heads, a.dim_v());
  a.q = {q_.buffer.data(), q_.stride};
  a.o = {o_.buffer.data(), o_.stride};
  a.lse = lse_.buffer.as<float>();
  a.lse_stride = lse_.stride;
  (paged ? a.paged.k : a.k) = {k_.buffer.data(), k_.stride};
  (paged ? a.paged.v : a.v) = {v_.buffer.data(), v_.stride};
  counts_.resize(int64_t{a.batch} * a.q_heads);
  a.counts = counts_.data();
  executed_.resize(int64_t{a.batch} * a.q_heads * a.query_tokens * ((a.key_tokens + 31) / 32));
  a.executed = executed_.data();
}

void Problem::MakeMask(const ProblemOptions& options, Rng& rng) {
  AttentionArguments& a = arguments;
  a.mask = options.mask;
  const int64_t pairs = int64_t{a.query_tokens} * a.key_tokens;
  if (options.keep_probability < 1.0) {
    keep_.resize(a.batch * a.q_heads * pairs);
    for (uint8_t& keep : keep_) keep = rng.Uniform() < options.keep_probability ? 0xff : 0;
    a.mask.keep = keep_.data();
    a.mask.keep_batch_stride = a.q_heads * pairs;
    a.mask.keep_head_stride = pairs;
    a.mask.keep_query_stride = a.key_tokens;
  }
  if (options.bias) {
    bias_.resize(a.q_heads * pairs);  // shared by the batch
    for (float& bias : bias_) {
      bias = options.values == Values::kIntegers ? static_cast<float>(rng.Below(33) - 16) / 8
                                                 : static_cast<float>(rng.Normal());
      if (rng.Below(16) == 0) bias = -std::numeric_limits<float>::infinity();
    }
    a.bias = {bias_.data(), 0, pairs, a.key_tokens};
  }
  if (options.sink_logits) {
    for (int32_t h = 0; h < a.q_heads; ++h) sink_logits_.push_back(rng.Normal());
    a.sink_logits = sink_logits_.data();
  }
}

void Problem::FillSequence(const ProblemOptions& options, int32_t b, int32_t kv_head, Rng& rng) {
  const AttentionArguments& a = arguments;
  const SequenceView sequence(a, b);
  std::vector<std::vector<double>> k;
  for (int32_t j = 0; j < sequence.keys(); ++j) {
    k.push_back(RandomRow(options.values, a.head_dim, 2, rng));
    v_.Set(sequence.KeyOffset(v_.stride, j, kv_head), RandomRow(options.values, a.dim_v(), 4, rng));
  }
  std::vector<std::vector<std::vector<double>>> q(a.group());
  for (std::vector<std::vector<double>>& rows : q) {
    for (int32_t i = 0; i < sequence.queries(); ++i) {
      rows.push_back(RandomRow(options.values, a.head_dim, 2, rng));
    }
  }
  if (options.values == Values::kStructured) AddStructure(sequence, k, q, rng);
  for (int32_t j = 0; j < sequence.keys(); ++j) {
    k_.Set(sequence.KeyOffset(k_.stride, j, kv_head), k[j]);
  }
  for (int32_t g = 0; g < a.group(); ++g) {
    for (int32_t i = 0; i < sequence.queries(); ++i) {
      q_.Set(sequence.QueryOffset(q_.stride, i, kv_head * a.group() + g), q[g][i]);
    }
  }
}

void Problem::PoisonOutputs() {
  o_.Poison();
  lse_.Poison();
  std::fill(counts_.begin(), counts_.end(), AttentionCounts{-1, -1, -1, -1, -1, -1});
  std::fill(executed_.begin(), executed_.end(), ~0u);
}

ReferenceResult Problem::Reference(const TileIndex* index, const TileRule& rule) const {
  return ReferenceAttention(WithoutOutputs(arguments), index, rule);
}

std::vector<Problem::Array> Problem::Arrays() {
  std::vector<Array> arrays;
  const auto add = [&](void* data, size_t bytes, bool written = false) {
    if (bytes > 0) arrays.push_back({data, bytes, written});
  };
  for (Tensor* tensor : {&q_, &k_, &v_, &o_, &lse_}) {
    add(tensor->buffer.data(), tensor->elements * SizeOf(tensor->dtype),
        tensor == &o_ || tensor == &lse_);
  }
  for (std::vector<int32_t>* values : {&query_offsets_, &key_offsets_, &key_lengths_,
                                       &query_starts_, &key_positions_, &page_table_}) {
    add(values->data(), values->size() * sizeof(int32_t));
  }
  add(counts_.data(), counts_.size() * sizeof(AttentionCounts), true);
  add(executed_.data(), executed_.size() * sizeof(uint32_t), true);
  add(keep_.data(), keep_.size());
  add(bias_.data(), bias_.size() * sizeof(float));
  add(sink_logits_.data(), sink_logits_.size() * sizeof(float));
  add(phases_.data(), phases_.size() * sizeof(Phase));
  return arrays;
}

double Problem::Output(int32_t b, int32_t head, int32_t query, int32_t d) const {
  return o_.Get(SequenceView(arguments, b).QueryOffset(o_.stride, query, head) + d);
}

float Problem::Lse(int32_t b, int32_t head, int32_t query) const {
  return lse_.buffer.as<float>()[SequenceView(arguments, b).QueryOffset(lse_.stride, query, head)];
}

bool Problem::GapsUntouched() const {
  std::vector<bool> o_row(o_.elements, false), lse_row(lse_.elements, false);
  for (int32_t b = 0; b < arguments.batch; ++b) {
    const SequenceView sequence(arguments, b);
    for (int32_t head = 0; head < arguments.q_heads; ++head) {
      for (int32_t query = 0; query < sequence.queries(); ++query) {
        const auto row = o_row.begin() + sequence.QueryOffset(o_.stride, query, head);
        std::fill(row, row + arguments.dim_v(), true);
        lse_row[sequence.QueryOffset(lse_.stride, query, head)] = true;
      }
    }
  }
  for (int64_t i = 0; i < o_.elements; ++i) {
    if (!o_row[i] && !std::isnan(o_.Get(i))) return false;
  }
  for (int64_t i = 0; i < lse_.elements; ++i) {
    if (!lse_row[i] && !std::isnan(lse_.Get(i))) return false;
  }
  return true;
}

}  // namespace tamis::attention_testing
