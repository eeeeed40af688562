// A test problem with its arrays on the GPU.
#ifndef TAMIS_TESTS_GPU_DEVICE_PROBLEM_H_
#define TAMIS_TESTS_GPU_DEVICE_PROBLEM_H_

#include <vector>

#include "attention/problem.h"
#include "tamis/attention.h"

namespace tamis::gpu_testing {

/// Mirrors a problem's arrays in device memory, poisoned outputs included. The problem must outlive
/// it and keep its memory.
class DeviceProblem {
 public:
  explicit DeviceProblem(attention_testing::Problem& problem);
  ~DeviceProblem();
  DeviceProblem(const DeviceProblem&) = delete;
  DeviceProblem& operator=(const DeviceProblem&) = delete;

  /// The problem's arguments with device pointers, asking for O, LSE and, if wanted, counts.
  AttentionArguments arguments(bool counts = false) const;
  /// Poisons the outputs on both sides.
  void Poison();
  /// Waits and copies the outputs back into the problem.
  void Fetch();
  /// The outputs as Fetch brought them.
  std::vector<char> OutputBytes();

 private:
  struct Mirror {
    attention_testing::Problem::Array host;
    void* device;
  };
  template <typename T>
  T* Translate(T* host) const;
  void Upload();

  attention_testing::Problem& problem_;
  std::vector<Mirror> mirrors_;
};

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_DEVICE_PROBLEM_H_
