// Counts what a test program allocates with new.
#ifndef TAMIS_TESTS_MODEL_COUNT_ALLOCATIONS_H_
#define TAMIS_TESTS_MODEL_COUNT_ALLOCATIONS_H_

#include <cstdint>

namespace tamis::testing {

/// Calls of operator new so far, on any thread.
int64_t Allocations();

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_COUNT_ALLOCATIONS_H_
