// The memory bandwidth that decode is held to.
#ifndef TAMIS_CLI_READ_BANDWIDTH_H_
#define TAMIS_CLI_READ_BANDWIDTH_H_

#include "base/aligned_buffer.h"
#include "tamis/thread_pool.h"

namespace tamis::cli {

/// Reads a buffer far larger than the caches.
class ReadBandwidth {
 public:
  explicit ReadBandwidth(ThreadPool& pool);
  /// Bytes per second that all threads of the pool together read, now: other users of the memory
  /// come and go, so take samples between those of what is held to it.
  double Sample();

 private:
  ThreadPool& pool_;
  AlignedBuffer buffer_;
};

}  // namespace tamis::cli

#endif  // TAMIS_CLI_READ_BANDWIDTH_H_
