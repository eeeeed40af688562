// Checks and times the CUDA executor on a machine that has a CUDA driver and nothing of ours.
//
//   tamis_gpu check [--quick] [--filter TEXT] [--seed N]
//   tamis_gpu bench [--lengths N...] [--head-dims N...] [--f16] [--bidirectional] [--sustained]
//                   [--paged | --ragged | --general | --lists | --columns | --sparse | --thin |
//                    --sparse-lists | --skip | --skip-lists | --skip-structured | --skip-sparse |
//                    --column-rules]
//                                      beside the dense call (--sparse-lists and --column-rules:
//                                      beside the same index alone),
//                                      taking turns; the last number is the rate over the first
//                                      call's
//   tamis_gpu once     one shape, from LENGTH and HEAD_DIM of the environment; prints milliseconds
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

/// Calls beside the dense one of the same length, which comes first.
std::vector<BenchCall> PagedCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense};
  for (const int32_t page_size : {16, 32, 64, 128, 256}) {
    calls.push_back(dense);
    calls.back().name = fmt::format("pages of {}", page_size);
    calls.back().page_size = page_size;
  }
  return calls;
}

/// Prompts of 200 to `longest` tokens, evenly spaced in log length.
std::vector<BenchCall> RaggedCalls(const BenchCall& dense) {
  constexpr int kPrompts = 16;
  const int32_t longest = dense.lengths[0];
  std::vector<int32_t> lengths;
  for (int i = 0; i < kPrompts; ++i) {
    lengths.push_back(static_cast<int32_t>(
        std::lround(200.0 * std::pow(longest / 200.0, static_cast<double>(i) / (kPrompts - 1)))));
  }
  std::vector<BenchCall> calls = {dense};
  calls.push_back(dense);
  calls.back().name = fmt::format("{} prompts, ascending", kPrompts);
  calls.back().lengths = lengths;
  std::shuffle(lengths.begin(), lengths.end(), std::mt19937(1));
  calls.push_back(dense);
  calls.back().name = fmt::format("{} prompts, shuffled", kPrompts);
  calls.back().lengths = lengths;
  calls.push_back(calls.back());
  calls.back().name += ", pages of 64";
  calls.back().page_size = 64;
  return calls;
}

std::vector<BenchCall> GeneralCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense};
  const auto add = [&](const char* name) -> BenchCall& {
    calls.push_back(dense);
    calls.back().name = name;
    return calls.back();
  };
  add("sink logits").sink_logits = true;
  add("softcap").softcap = 30.0f;
  add("window of 4096").mask.window_left = 4095;
  BenchCall& sinks = add("window of 1024, 4 sinks");
  sinks.mask.window_left = 1023;
  sinks.mask.sink_tokens = 4;
  add("window of 128").mask.window_left = 127;
  add("bias").bias = true;
  return calls;
}

std::vector<BenchCall> ListCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense};
  for (const double density : {1.0, 0.5, 0.25, 0.1, 0.05}) {
    calls.push_back(dense);
    calls.back().name = fmt::format("lists of density {}", density);
    calls.back().density = density;
  }
  return calls;
}

std::vector<BenchCall> SparseCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense};
  const auto add = [&](const char* name, const NOfMRule& rule) {
    calls.push_back(dense);
    calls.back().name = name;
    calls.back().rule.n_of_m = rule;
  };
  add("2:4", {.n = 2, .m = 4});
  add("1:2", {.n = 1, .m = 2});
  add("1:4", {.n = 1, .m = 4});
  add("2:4, 4 sinks, 64 recent",
      {.n = 2, .m = 4, .sink_tokens = 4, .recent_tokens = 64, .skip_diagonal_blocks = false});
  return calls;
}

/// Vertical-slash patterns, each beside lists of as many tiles.
std::vector<BenchCall> ColumnCalls(const BenchCall& dense) {
  struct Named {
    const char* name;
    VerticalSlash slash;
  };
  const Named patterns[] = {
      {"1000 columns, 2048 local, 8 bands of 500",
       {.columns = 1000, .local = 2048, .bands = 8, .band_width = 500}},
      {"2048 local, 8 bands of 500", {.local = 2048, .bands = 8, .band_width = 500}},
      {"64 columns, 1024 local", {.columns = 64, .local = 1024}},
      {"diagonal, 1024 columns", {.columns = 1024}},
      {"diagonal, 8192 columns", {.columns = 8192}},
  };
  std::vector<BenchCall> calls = {dense};
  constexpr int32_t kLong = 1 << 16;  // columns of every row: gigabytes for 8192 of them
  for (const Named& pattern : patterns) {
    if (dense.lengths[0] > kLong && pattern.slash.columns > 1000) continue;
    for (const bool as_blocks : {false, true}) {
      calls.push_back(dense);
      calls.back().name = fmt::format("{}{}", pattern.name, as_blocks ? ", as blocks" : "");
      calls.back().slash = pattern.slash;
      calls.back().slash->as_blocks = as_blocks;
    }
  }
  return calls;
}

BenchCall WithLambda(BenchCall call, float lambda) {
  call.name = fmt::format("{}, lambda {:.2g}", call.name, lambda);
  call.lambda = lambda;
  return call;
}

/// The lambda that drops what lies below `quantile` of the normal distribution that
/// Inputs::Kind::kScattered makes of the tiles other than the queries' own.
float ScatteredLambda(int32_t head_dim, double quantile) {
  const double own = 3.5 * std::sqrt(static_cast<double>(head_dim));
  return static_cast<float>(std::exp(std::min(quantile * 4.95 + 3.6 - own, -0.1)));
}

/// Nothing, half, three quarters and nearly all below the queries' own tiles.
std::vector<BenchCall> SkipCalls(const BenchCall& dense) {
  BenchCall scattered = dense;
  scattered.name = "dense, scattered";
  scattered.inputs = {Inputs::Kind::kScattered, dense.head_dim > 64 ? 128 : 96};
  std::vector<BenchCall> calls = {dense, WithLambda(dense, 1e-30f), scattered};
  for (const double quantile : {-9.0, -0.7, -0.2, 0.4, 1.0, 5.0}) {
    calls.push_back(WithLambda(scattered, ScatteredLambda(dense.head_dim, quantile)));
  }
  return calls;
}

std::vector<BenchCall> SkipListCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense};
  for (const bool scattered : {false, true}) {
    BenchCall lists = dense;
    lists.name = "lists of density 0.25";
    lists.density = 0.25;
    if (scattered) lists.inputs = {Inputs::Kind::kScattered, 128};
    calls.push_back(lists);
    for (const double quantile : {-9.0, -0.2, 0.4}) {
      if (!scattered && quantile > -9.0) break;
      calls.push_back(WithLambda(lists, ScatteredLambda(dense.head_dim, quantile)));
    }
  }
  return calls;
}

std::vector<BenchCall> SkipStructuredCalls(const BenchCall& dense) {
  BenchCall structured = dense;
  structured.inputs.kind = Inputs::Kind::kStructured;
  std::vector<BenchCall> calls = {structured};
  for (const float lambda : {1e-6f, 1e-4f, 1e-3f, 1e-2f, 3e-2f, 0.1f}) {
    calls.push_back(WithLambda(structured, lambda));
  }
  return calls;
}

/// N:M with tiles dropped, each beside the same N:M alone.
std::vector<BenchCall> SkipSparseCalls(const BenchCall& dense) {
  BenchCall scattered = dense;
  scattered.name = "dense, scattered";
  scattered.inputs = {Inputs::Kind::kScattered, 128};
  std::vector<BenchCall> calls = {scattered};
  const auto add = [&](const char* name, const NOfMRule& rule) {
    BenchCall call = scattered;
    call.name = name;
    call.rule.n_of_m = rule;
    calls.push_back(call);
    for (const double quantile : {-9.0, -0.7, -0.2, 0.4}) {
      calls.push_back(WithLambda(call, ScatteredLambda(dense.head_dim, quantile)));
    }
  };
  add("2:4", {.n = 2, .m = 4});
  add("1:2", {.n = 1, .m = 2});
  add("2:4, 4 sinks, 64 recent", {.n = 2, .m = 4, .sink_tokens = 4, .recent_tokens = 64});
  return calls;
}

/// Apart from SparseCalls: they draw little power, which raises the clock of whoever comes next.
std::vector<BenchCall> ThinCalls(const BenchCall& dense) {
  std::vector<BenchCall> calls = {dense, dense, dense};
  calls[1].name = "3:4";
  calls[1].rule.n_of_m = {.n = 3, .m = 4};
  calls[2].name = "4:8";
  calls[2].rule.n_of_m = {.n = 4, .m = 8};
  return calls;
}

/// Beside lists alone.
std::vector<BenchCall> SparseListCalls(const BenchCall& dense) {
  BenchCall lists = dense;
  lists.density = 0.25;
  std::vector<BenchCall> calls = SparseCalls(lists);
  calls.pop_back();  // thinned: as in ThinCalls
  for (BenchCall& call : calls) call.name = "lists of density .25, " + call.name;
  return calls;
}

/// Beside the same windows and columns without a rule; skip-softmax also with lists of 64-key
/// blocks.
std::vector<BenchCall> ColumnRuleCalls(const BenchCall& dense) {
  BenchCall slash = dense;
  slash.name = "columns and bands";
  slash.slash = {.columns = 1000, .local = 2048, .bands = 8, .band_width = 500};
  std::vector<BenchCall> calls = {slash, WithLambda(slash, 1e-30f)};
  const auto thin = [&](const char* name, const NOfMRule& rule) {
    calls.push_back(slash);
    calls.back().name += name;
    calls.back().rule.n_of_m = rule;
  };
  thin(", 2:4", {.n = 2, .m = 4});
  thin(", 1:2", {.n = 1, .m = 2});
  thin(", 4:8", {.n = 4, .m = 8});
  BenchCall blocks = dense;
  blocks.name = "64-key blocks of density .25";
  blocks.density = 0.25;
  blocks.key_block = 64;
  for (BenchCall call : {slash, blocks}) {
    call.inputs = {Inputs::Kind::kScattered, call.density ? 64 : 128};
    call.name += ", scattered";
    calls.push_back(call);
    for (const double quantile : {-9.0, -0.2, 0.4, 5.0}) {
      calls.push_back(WithLambda(call, ScatteredLambda(dense.head_dim, quantile)));
    }
  }
  return calls;
}

int Bench(const std::vector<std::string>& words) {
  BenchCall dense{.name = "dense"};
  BenchOptions options;
  std::vector<int32_t> lengths, head_dims;
  std::vector<int32_t>* list = nullptr;
  std::vector<BenchCall> (*others)(const BenchCall&) = nullptr;
  for (const std::string& word : words) {
    if (word == "--lengths") {
      list = &lengths;
    } else if (word == "--head-dims") {
      list = &head_dims;
    } else if (word == "--f16") {
      dense.dtype = DType::kF16;
    } else if (word == "--sustained") {
      options.burst_ms = 250.0;
      options.repeats = 2;
    } else if (word == "--bidirectional") {
      dense.mask.causality = Causality::kBidirectional;
    } else if (word == "--paged") {
      others = PagedCalls;
    } else if (word == "--ragged") {
      others = RaggedCalls;
    } else if (word == "--general") {
      others = GeneralCalls;
    } else if (word == "--lists") {
      others = ListCalls;
    } else if (word == "--sparse") {
      others = SparseCalls;
    } else if (word == "--columns") {
      others = ColumnCalls;
    } else if (word == "--skip") {
      others = SkipCalls;
    } else if (word == "--skip-lists") {
      others = SkipListCalls;
    } else if (word == "--skip-structured") {
      others = SkipStructuredCalls;
    } else if (word == "--skip-sparse") {
      others = SkipSparseCalls;
    } else if (word == "--thin") {
      others = ThinCalls;
    } else if (word == "--column-rules") {
      others = ColumnRuleCalls;
    } else if (word == "--sparse-lists") {
      others = SparseListCalls;
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
  fmt::print("{}, {}, {}, {}/{} heads\n", properties.name, Name(dense.dtype),
             dense.mask.causality == Causality::kCausal ? "causal" : "bidirectional", dense.q_heads,
             dense.kv_heads);
  for (const int32_t head_dim : head_dims) {
    for (const int32_t length : lengths) {
      dense.head_dim = head_dim;
      dense.lengths = {length};
      const std::vector<BenchCall> calls =
          others != nullptr ? others(dense) : std::vector<BenchCall>{dense};
      const std::vector<BenchResult> results = Measure(calls, options);
      for (size_t i = 0; i < calls.size(); ++i) {
        const BenchResult& r = results[i];
        fmt::print(
            "d{:<4} {:>7} tokens {:>10.4f} ms {:>6.0f} TFLOP/s {:>6.0f} MHz {:>6.0f} cycles "
            "{:>6.3f} "
            "{}{}\n",
            head_dim, length, r.milliseconds, r.teraflops, r.mhz, r.cycles,
            r.teraflops / results[0].teraflops, calls[i].name,
            calls[i].lambda ? fmt::format(": {:.3f} skipped, x {:.3f}, error {:.1e}", r.skipped,
                                          r.speedup, r.error)
                            : "");
      }
    }
  }
  return 0;
}

int Once() {
  const auto number = [](const char* name, int32_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::atoi(text) : otherwise;
  };
  BenchCall call;
  call.lengths = {number("LENGTH", 4096)};
  call.head_dim = number("HEAD_DIM", call.head_dim);
  if (number("BIDIRECTIONAL", 0) != 0) call.mask.causality = Causality::kBidirectional;
  // Peers run back to back: meet them at their clock.
  const BenchOptions options{.repeats = 1, .warm_up_ms = 150.0};
  fmt::print("{:.5f}\n", Measure({call}, options)[0].milliseconds);
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
