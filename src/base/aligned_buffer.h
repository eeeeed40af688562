// Growable, uninitialised memory aligned for vector loads.
#ifndef TAMIS_BASE_ALIGNED_BUFFER_H_
#define TAMIS_BASE_ALIGNED_BUFFER_H_

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
    const size_t rounded = (bytes + 63) / 64 * 64;
    data_.reset();
    data_.reset(std::aligned_alloc(64, rounded));
    if (data_ == nullptr) throw std::bad_alloc();
    size_ = rounded;
  }
  void* data() const { return data_.get(); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace tamis

#endif  // TAMIS_BASE_ALIGNED_BUFFER_H_
