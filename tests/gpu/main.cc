// Checks and times the CUDA executor on a machine that has a CUDA driver and nothing of ours.
//
//   tamis_gpu check [--quick] [--filter TEXT] [--seed N]
//   tamis_gpu bench [--lengths N...] [--head-dims N...] [--f16] [--bidirectional] [--sustained]
//   tamis_gpu once     one shape, from LENGTH and HEAD_DIM of the environment; prints milliseconds
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "attention/cuda/error.cuh"
#include "gpu/bench.h"
#include "gpu/check.h"
#include "tamis/error.h"

namespace tamis::gpu_testing {
namespace {

int Check(const std::vector<std::string>& words) {
  std::string filter;
  uint64_t seed = std::random_device()();
  bool quick = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool has_value = i + 1 < words.size();
    if (words[i] == "--quick") {
      quick = true;
    } else if (words[i] == "--filter" && has_value) {
      filter = words[++i];
    } else if (words[i] == "--seed" && has_value) {
      seed = std::stoull(words[++i]);
    } else {
      throw Error("unknown option '" + words[i] + "' of check, or one without its value");
    }
  }
  const CheckSummary summary = RunChecks(filter, seed, quick);
  fmt::print("check: {} cases, {} failures (seed {})\n", summary.cases, summary.failures, seed);
  return summary.failures == 0 ? 0 : 1;
}

int Bench(const std::vector<std::string>& words) {
  BenchOptions options;
  std::vector<int32_t> lengths, head_dims;
  std::vector<int32_t>* list = nullptr;
  for (const std::string& word : words) {
    if (word == "--lengths") {
      list = &lengths;
    } else if (word == "--head-dims") {
      list = &head_dims;
    } else if (word == "--f16") {
      options.dtype = DType::kF16;
    } else if (word == "--sustained") {
      options.burst_ms = 250.0;
      options.repeats = 2;
    } else if (word == "--bidirectional") {
      options.causal = false;
    } else if (list != nullptr) {
      list->push_back(std::stoi(word));
    } else {
      throw Error("unknown option '" + word + "' of bench");
    }
  }
  if (lengths.empty()) lengths = {4096, 16384};
  if (head_dims.empty()) head_dims = {128, 64};
  cudaDeviceProp properties;
  cuda::CheckCuda(cudaGetDeviceProperties(&properties, 0), "reading the device's properties");
  fmt::print("{}, {}, {}, {}/{} heads\n", properties.name, Name(options.dtype),
             options.causal ? "causal" : "bidirectional", options.q_heads, options.kv_heads);
  for (const int32_t head_dim : head_dims) {
    for (const int32_t length : lengths) {
      options.head_dim = head_dim;
      options.length = length;
      const BenchResult r = Measure(options);
      fmt::print("d{:<4} {:>7} tokens {:>10.4f} ms {:>6.0f} TFLOP/s {:>6.0f} MHz {:>6.0f} cycles\n",
                 head_dim, length, r.milliseconds, r.teraflops, r.mhz, r.cycles);
    }
  }
  return 0;
}

int Once() {
  const auto number = [](const char* name, int32_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::atoi(text) : otherwise;
  };
  BenchOptions options;
  options.length = number("LENGTH", options.length);
  options.head_dim = number("HEAD_DIM", options.head_dim);
  options.causal = number("BIDIRECTIONAL", 0) == 0;
  options.repeats = 1;
  options.warm_up_ms = 150.0;  // peers run back to back: meet them at their clock
  fmt::print("{:.5f}\n", Measure(options).milliseconds);
  return 0;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  const std::string command = argc > 1 ? argv[1] : "";
  try {
    if (command == "check") return Check(words);
    if (command == "bench") return Bench(words);
    if (command == "once") return Once();
  } catch (const Error& error) {
    fmt::print(stderr, "tamis_gpu: {}\n", error.what());
    return 1;
  }
  fmt::print(stderr, "usage: tamis_gpu check|bench|once\n");
  return 2;
}

}  // namespace
}  // namespace tamis::gpu_testing

int main(int argc, char** argv) { return tamis::gpu_testing::Main(argc, argv); }
