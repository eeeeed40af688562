#include "report/memory.h"

#include <fstream>
#include <string>

namespace tamis {

// getrusage would count what ran in this process before exec, a large shell or Python for example.
size_t PeakResidentBytes() {
  std::ifstream status("/proc/self/status");
  size_t kib = 0;
  for (std::string key; status >> key;) {
    if (key == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace tamis
