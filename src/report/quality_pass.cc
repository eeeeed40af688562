#include "report/quality_pass.h"

#include <algorithm>
#include <memory>

#include "generate/chunking.h"

namespace tamis {
namespace {

/// Rows of logits held at a time: two blocks of at most this many bytes.
constexpr int64_t kLogitBytes = int64_t{32} << 20;
constexpr int64_t kLogitRows = 128;

}  // namespace

QualityPass::QualityPass(Model& model, const ExecutionContext& context,
                         std::span<const int32_t> prompt, std::span<const int32_t> continuation,
                         const QualityOptions& options)
    : model_(model),
      context_(context),
      prompt_(prompt),
      continuation_(continuation),
      options_(options) {}

PolicyStatistics QualityPass::Read(const Policy& policy,
                                   const std::function<void(int32_t done)>& progress) {
  PolicyAttention attention(policy, model_.policy_target(), context_,
                            {.collect_counts = true, .measure_retained_mass = !policy.IsDense()});
  const std::unique_ptr<KvCache> cache = model_.NewCache(
      {.capacity = positions(), .dtype = options_.cache_dtype, .page_size = options_.page_size});
  const int64_t width = model_.config().hidden;
  std::vector<float> hidden(static_cast<size_t>(positions() * width));
  int32_t done = 0;
  const auto forward = [&](std::span<const int32_t> tokens) {
    const SequenceStep step{tokens, cache.get()};
    model_.Forward({&step, 1}, attention, hidden.data() + done * width);
    done += static_cast<int32_t>(tokens.size());
    if (progress) progress(done);
  };
  for (auto left = static_cast<int32_t>(prompt_.size()); left > 0;) {
    const int32_t rows = NextChunk(left, options_.chunk);
    forward(prompt_.last(left).first(rows));
    left -= rows;
  }
  for (size_t at = 0; at < continuation_.size(); ++at) forward(continuation_.subspan(at, 1));
  hidden_.push_back(std::move(hidden));
  return attention.statistics();
}

int32_t QualityPass::TokenAt(int32_t position) const {
  const auto at = static_cast<size_t>(position);
  return at < prompt_.size() ? prompt_[at] : continuation_[at - prompt_.size()];
}

void QualityPass::Add(int32_t first_position, int32_t rows, const float* logits,
                      std::span<const LogitRow> reference, std::span<const LogitRow> summary,
                      std::span<const double> kl, QualityRow& out) const {
  const int64_t vocab = model_.config().vocab;
  for (int32_t row = 0; row < rows; ++row) {
    const int32_t position = first_position + row;
    Divergence& sum =
        static_cast<size_t>(position) < prompt_.size() ? out.prompt : out.continuation;
    ++sum.positions;
    sum.same_top1 += summary[row].top1 == reference[row].top1;
    sum.kl_sum += kl[row];
    sum.kl_max = std::max(sum.kl_max, kl[row]);
    if (position + 1 < positions()) {
      ++sum.predicted;
      sum.negative_log_likelihood +=
          summary[row].log_sum - logits[row * vocab + TokenAt(position + 1)];
    }
  }
}

std::vector<QualityRow> QualityPass::Compare(const std::function<void(int32_t done)>& progress) {
  const int64_t vocab = model_.config().vocab;
  const int64_t width = model_.config().hidden;
  const auto block = static_cast<int32_t>(
      std::clamp<int64_t>(kLogitBytes / (vocab * int64_t{sizeof(float)}), 1, kLogitRows));
  std::vector<float> reference(static_cast<size_t>(block * vocab));
  std::vector<float> other(static_cast<size_t>(block * vocab));
  std::vector<QualityRow> out(hidden_.size());
  for (int32_t first = 0; first < positions(); first += block) {
    const int32_t rows = std::min(block, positions() - first);
    model_.Logits(hidden_[0].data() + first * width, rows, reference.data());
    const std::vector<LogitRow> reference_rows =
        SummariseLogits(reference.data(), rows, static_cast<int32_t>(vocab), *context_.pool);
    Add(first, rows, reference.data(), reference_rows, reference_rows, std::vector<double>(rows),
        out[0]);
    for (size_t p = 1; p < hidden_.size(); ++p) {
      model_.Logits(hidden_[p].data() + first * width, rows, other.data());
      const std::vector<LogitRow> other_rows =
          SummariseLogits(other.data(), rows, static_cast<int32_t>(vocab), *context_.pool);
      const std::vector<double> kl =
          RowDivergence(reference.data(), reference_rows, other.data(), other_rows,
                        static_cast<int32_t>(vocab), *context_.pool);
      Add(first, rows, other.data(), reference_rows, other_rows, kl, out[p]);
    }
    if (progress) progress(first + rows);
  }
  return out;
}

}  // namespace tamis
