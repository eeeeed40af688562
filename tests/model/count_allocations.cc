// A file of its own: where GCC sees both sides of a pair it takes malloc and delete for a mismatch.
#include "model/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace tamis::testing {

int64_t Allocations() { return allocations.load(std::memory_order_relaxed); }

}  // namespace tamis::testing
