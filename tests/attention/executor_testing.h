// Running a problem on one build of the CPU executor.
#ifndef TAMIS_TESTS_ATTENTION_EXECUTOR_TESTING_H_
#define TAMIS_TESTS_ATTENTION_EXECUTOR_TESTING_H_

#include <cstring>
#include <string>
#include <vector>

#include "attention/compare.h"
#include "attention/cpu/executor.h"
#include "attention/problem.h"
#include "base/aligned_buffer.h"
#include "tamis/attention.h"

namespace tamis::attention_testing {

/// Every kernel source that this machine can run, the emulated one among them.
std::vector<cpu::Variant> Variants();
std::string VariantName(cpu::Variant variant);

/// Validates and runs on poisoned outputs with a poisoned workspace of exactly the planned size.
void RunVariant(cpu::Variant variant, Problem& problem, const TileIndex* index,
                const TileRule& rule, ThreadPool& pool);

/// What outputs of a dtype may be off: see the definition for the derivation.
struct ErrorBounds {
  double o;
  double lse;
};
ErrorBounds BoundsOf(cpu::Variant variant, const Problem& problem);

/// Runs and holds O, LSE, counts and the executed mask to the reference. `ulps`: how close a rule's
/// decision must be for the executor to take it the other way (0 where scores are exact).
void ExpectMatches(cpu::Variant variant, Problem& problem, const TileIndex* index,
                   const TileRule& rule, const ReferenceResult& reference, double ulps,
                   ThreadPool& pool);
/// On every build that takes a path of its own for the problem's dtypes and phase.
void ExpectAllMatch(Problem& problem, const TileIndex* index, const TileRule& rule, double ulps,
                    ThreadPool& pool);

/// O of the first sequence: [q_heads][query_tokens][dim_v].
std::vector<double> Outputs(const Problem& problem);
/// All outputs as bytes, to compare two runs bit by bit.
std::vector<char> OutputBytes(const Problem& problem);

}  // namespace tamis::attention_testing

#endif  // TAMIS_TESTS_ATTENTION_EXECUTOR_TESTING_H_
