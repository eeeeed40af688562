// Correctness of the CUDA executor against the fp64 reference.
#ifndef TAMIS_TESTS_GPU_CHECK_H_
#define TAMIS_TESTS_GPU_CHECK_H_

#include <cstdint>
#include <string>

namespace tamis::gpu_testing {

struct CheckSummary {
  int cases = 0;
  int failures = 0;
};

/// Runs every case whose name holds `filter` on inputs
/// drawn from `seed`, prints a line for each, and checks errors, poison, refusals and run-to-run
/// equality.
CheckSummary RunChecks(const std::string& filter, uint64_t seed, bool quick);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_CHECK_H_
