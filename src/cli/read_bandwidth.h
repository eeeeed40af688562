// The memory bandwidth that decode is held to.
#ifndef TAMIS_CLI_READ_BANDWIDTH_H_
#define TAMIS_CLI_READ_BANDWIDTH_H_

#include "tamis/thread_pool.h"

namespace tamis::cli {

/// Bytes per second that all threads of the pool together read from a buffer far larger than the
/// caches: the best of five passes.
double MeasureReadBandwidth(ThreadPool& pool);

}  // namespace tamis::cli

#endif  // TAMIS_CLI_READ_BANDWIDTH_H_
