#include "gpu/device_problem.h"

#include <cuda_runtime_api.h>

#include "attention/cuda/error.cuh"
#include "base/check.h"

namespace tamis::gpu_testing {

using cuda::CheckCuda;

DeviceProblem::DeviceProblem(attention_testing::Problem& problem) : problem_(problem) {
  for (const auto& array : problem.Arrays()) {
    void* device = nullptr;
    CheckCuda(cudaMalloc(&device, array.bytes), "allocating");
    mirrors_.push_back({array, device});
  }
  Upload();
}

DeviceProblem::~DeviceProblem() {
  for (const Mirror& mirror : mirrors_) cudaFree(mirror.device);
}

void DeviceProblem::Upload() {
  for (const Mirror& mirror : mirrors_) {
    CheckCuda(
        cudaMemcpy(mirror.device, mirror.host.data, mirror.host.bytes, cudaMemcpyHostToDevice),
        "copying to the device");
  }
}

template <typename T>
T* DeviceProblem::Translate(T* host) const {
  if (host == nullptr) return nullptr;
  const auto at = reinterpret_cast<uintptr_t>(host);
  for (const Mirror& mirror : mirrors_) {
    const auto begin = reinterpret_cast<uintptr_t>(mirror.host.data);
    if (at >= begin && at < begin + mirror.host.bytes) {
      return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(mirror.device) + (at - begin));
    }
  }
  Fail("an array of the problem is not mirrored");
}

AttentionArguments DeviceProblem::arguments(bool counts) const {
  AttentionArguments a = problem_.arguments;
  if (a.query_offsets != nullptr) a.packed_query_rows = a.query_offsets[a.batch];
  if (a.key_offsets != nullptr) a.packed_key_rows = a.key_offsets[a.batch];
  a.counts = counts ? Translate(a.counts) : nullptr;
  a.executed = nullptr;
  a.q.data = Translate(a.q.data);
  a.k.data = Translate(a.k.data);
  a.v.data = Translate(a.v.data);
  a.o.data = Translate(a.o.data);
  a.lse = Translate(a.lse);
  a.query_offsets = Translate(a.query_offsets);
  a.key_offsets = Translate(a.key_offsets);
  a.key_lengths = Translate(a.key_lengths);
  a.query_starts = Translate(a.query_starts);
  a.key_positions = Translate(a.key_positions);
  a.paged.page_table = Translate(a.paged.page_table);
  a.paged.k.data = Translate(a.paged.k.data);
  a.paged.v.data = Translate(a.paged.v.data);
  a.mask.keep = Translate(a.mask.keep);
  a.bias.data = Translate(a.bias.data);
  a.sink_logits = Translate(a.sink_logits);
  return a;
}

void DeviceProblem::Poison() {
  problem_.PoisonOutputs();
  Upload();
}

void DeviceProblem::Fetch() {
  CheckCuda(cudaDeviceSynchronize(), "running attention");
  for (const Mirror& mirror : mirrors_) {
    if (!mirror.host.written) continue;
    CheckCuda(
        cudaMemcpy(mirror.host.data, mirror.device, mirror.host.bytes, cudaMemcpyDeviceToHost),
        "copying from the device");
  }
}

std::vector<char> DeviceProblem::OutputBytes() {
  std::vector<char> bytes;
  for (const Mirror& mirror : mirrors_) {
    if (!mirror.host.written) continue;
    const char* data = static_cast<const char*>(mirror.host.data);
    bytes.insert(bytes.end(), data, data + mirror.host.bytes);
  }
  return bytes;
}

}  // namespace tamis::gpu_testing
