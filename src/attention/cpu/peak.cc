#include "attention/cpu/peak.h"

#include <algorithm>
#include <chrono>

#include "attention/cpu/executor.h"
#include "attention/cpu/kernels.h"

namespace tamis {
namespace {

/// Seconds that every thread of the pool needs for its share of `iterations` each.
double TimeBurn(const cpu::Kernels& kernels, int64_t iterations, ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  pool.Run([&](int) { kernels.burn(iterations); });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double MeasurePeakFlops(CpuIsa isa, DType dtype, ThreadPool& pool) {
  constexpr double kSeconds = 0.02;
  constexpr int kRuns = 5;
  const cpu::Kernels& kernels = cpu::SelectKernels(cpu::VariantOf(isa), dtype, dtype);
  int64_t iterations = 1 << 12;
  while (TimeBurn(kernels, iterations, pool) < kSeconds / 4) iterations *= 2;
  iterations *= 4;
  double best = 0.0;
  for (int run = 0; run < kRuns; ++run) {
    const double seconds = TimeBurn(kernels, iterations, pool);
    const double flops =
        static_cast<double>(iterations) * pool.size() * static_cast<double>(kernels.burn(1));
    best = std::max(best, flops / seconds);
  }
  return best;
}

}  // namespace tamis
