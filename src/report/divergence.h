// How far one model's next-token distributions lie from another's.
#ifndef TAMIS_REPORT_DIVERGENCE_H_
#define TAMIS_REPORT_DIVERGENCE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tamis/thread_pool.h"

namespace tamis {

/// What is known of one row of logits: log p(i) = logits[i] - log_sum.
struct LogitRow {
  double log_sum = 0.0;  ///< natural log of the sum of exponentials
  int32_t top1 = 0;      ///< ties to the lowest id
};

/// One LogitRow per row of `logits` [rows][vocab], in parallel.
std::vector<LogitRow> SummariseLogits(const float* logits, int32_t rows, int32_t vocab,
                                      ThreadPool& pool);

/// KL(reference || other) in nats of each row pair [rows][vocab], in fp64, in parallel. Terms of
/// probability 0 in the reference count nothing.
std::vector<double> RowDivergence(const float* reference, std::span<const LogitRow> reference_rows,
                                  const float* other, std::span<const LogitRow> other_rows,
                                  int32_t vocab, ThreadPool& pool);

/// Sums over positions.
struct Divergence {
  int64_t positions = 0;
  int64_t same_top1 = 0;
  double kl_sum = 0.0;
  double kl_max = 0.0;
  /// Of the text's own tokens, where one follows.
  int64_t predicted = 0;
  double negative_log_likelihood = 0.0;

  double top1_agreement() const;
  double kl_mean() const;
  /// exp of the mean negative log-likelihood; not a number where nothing was predicted.
  double perplexity() const;
};

}  // namespace tamis

#endif  // TAMIS_REPORT_DIVERGENCE_H_
