#include "report/divergence.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/portable_exp.h"

// A vocabulary has up to 150,000 entries and a comparison thousands of rows: these two loops run at
// the machine's vector width.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define TAMIS_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TAMIS_VECTOR_CLONES
#endif

namespace tamis {
namespace {

/// Independent partial sums, so that additions vectorise and keep one order on every machine.
constexpr int64_t kLanes = 16;
using Lanes = std::array<double, kLanes>;

double Sum(const Lanes& lanes) {
  double sum = 0.0;
  for (double lane : lanes) sum += lane;
  return sum;
}

/// Sum over i of exp(logits[i] - maximum).
TAMIS_VECTOR_CLONES
double SumOfExponentials(const float* logits, int64_t count, double maximum) {
  Lanes lanes{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      lanes[j] += PortableExp(static_cast<double>(logits[i + j]) - maximum);
    }
  }
  for (int64_t j = 0; i < count; ++i, ++j) {
    lanes[j] += PortableExp(static_cast<double>(logits[i]) - maximum);
  }
  return Sum(lanes);
}

/// p (log p - log q); nothing where p is 0, even where q is.
inline double Term(float p, double p_log_sum, float q, double q_log_sum) {
  const double log_p = static_cast<double>(p) - p_log_sum;
  const double probability = PortableExp(log_p);
  const double product = probability * (log_p - (static_cast<double>(q) - q_log_sum));
  return probability > 0.0 ? product : 0.0;
}

/// Sum over i of p(i) (log p(i) - log q(i)), p and q given by logits and log-sums.
TAMIS_VECTOR_CLONES
double SumOfDifferences(const float* p, double p_log_sum, const float* q, double q_log_sum,
                        int64_t count) {
  Lanes lanes{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      lanes[j] += Term(p[i + j], p_log_sum, q[i + j], q_log_sum);
    }
  }
  for (int64_t j = 0; i < count; ++i, ++j) lanes[j] += Term(p[i], p_log_sum, q[i], q_log_sum);
  return Sum(lanes);
}

}  // namespace

std::vector<LogitRow> SummariseLogits(const float* logits, int32_t rows, int32_t vocab,
                                      ThreadPool& pool) {
  std::vector<LogitRow> out(rows);
  pool.ParallelFor(rows, [&](int64_t row, int) {
    const float* values = logits + row * vocab;
    int32_t best = 0;
    for (int32_t i = 1; i < vocab; ++i) {
      if (values[i] > values[best]) best = i;
    }
    const double maximum = values[best];
    out[row] = {maximum + std::log(SumOfExponentials(values, vocab, maximum)), best};
  });
  return out;
}

std::vector<double> RowDivergence(const float* reference, std::span<const LogitRow> reference_rows,
                                  const float* other, std::span<const LogitRow> other_rows,
                                  int32_t vocab, ThreadPool& pool) {
  std::vector<double> out(reference_rows.size());
  pool.ParallelFor(static_cast<int64_t>(out.size()), [&](int64_t row, int) {
    const double kl = SumOfDifferences(reference + row * vocab, reference_rows[row].log_sum,
                                       other + row * vocab, other_rows[row].log_sum, vocab);
    out[row] = kl < 0.0 ? 0.0 : kl;  // rounding of equal distributions
  });
  return out;
}

double Divergence::top1_agreement() const {
  return positions == 0 ? 1.0 : static_cast<double>(same_top1) / static_cast<double>(positions);
}

double Divergence::kl_mean() const {
  return positions == 0 ? 0.0 : kl_sum / static_cast<double>(positions);
}

double Divergence::perplexity() const {
  if (predicted == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(negative_log_likelihood / static_cast<double>(predicted));
}

}  // namespace tamis
