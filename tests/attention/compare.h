// How far an executor's outputs are from the fp64 reference.
#ifndef TAMIS_TESTS_ATTENTION_COMPARE_H_
#define TAMIS_TESTS_ATTENTION_COMPARE_H_

#include <cstdint>
#include <string>

#include "attention/problem.h"

namespace tamis::attention_testing {

/// Errors of o and lse over all rows.
struct ErrorMetrics {
  double max_abs = 0.0;        ///< of o
  double rms = 0.0;            ///< of o
  double reference_rms = 0.0;  ///< of the reference's o itself
  double max_lse = 0.0;        ///< of lse, where both are finite
  /// Outputs that are not finite where the reference is, and lse -inf on one side only.
  int64_t wrong_kind = 0;
};

ErrorMetrics CompareOutputs(const Problem& problem, const ReferenceResult& reference);

/// Differences between the executed masks.
struct KeptComparison {
  int64_t pairs = 0;      ///< kept by the reference
  int64_t differing = 0;  ///< kept by one of the two only
  /// Of those, pairs that no decision within the tolerance explains: errors.
  int64_t unexplained = 0;
  std::string first_unexplained;
};

/// A decision explains a difference where its gap is at most `ulps` fp32 ulp (2^-23) of its
/// magnitude. On exact scores (Values::kIntegers) ask for 0.
KeptComparison CompareExecuted(const Problem& problem, const ReferenceResult& reference,
                               double ulps);

}  // namespace tamis::attention_testing

#endif  // TAMIS_TESTS_ATTENTION_COMPARE_H_
