// Memory of this process.
#ifndef TAMIS_REPORT_MEMORY_H_
#define TAMIS_REPORT_MEMORY_H_

#include <cstddef>

namespace tamis {

/// The most memory this process has had resident so far, mapped files included. 0: unknown.
size_t PeakResidentBytes();

}  // namespace tamis

#endif  // TAMIS_REPORT_MEMORY_H_
