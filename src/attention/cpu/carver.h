// Dividing one block of memory into aligned arrays.
#ifndef TAMIS_ATTENTION_CPU_CARVER_H_
#define TAMIS_ATTENTION_CPU_CARVER_H_

#include <cstddef>
#include <cstdint>

namespace tamis::cpu {

/// Hands out arrays from `base`, each aligned to a cache line. With a null base it only adds up, so
/// that one function both sizes a workspace and divides it.
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}

  template <typename T>
  T* Take(int64_t count) {
    char* begin = base_ == nullptr ? nullptr : base_ + bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(begin);
  }
  size_t bytes() const { return bytes_; }

 private:
  char* base_;
  size_t bytes_ = 0;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_CARVER_H_
