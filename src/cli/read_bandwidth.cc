#include "cli/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.h"

namespace tamis::cli {
namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kPiece = int64_t{1} << 20;
constexpr int kPasses = 5;

/// Exclusive or of a piece: one load and one operation of no latency per 64 bytes.
uint64_t Read(const uint64_t* data, int64_t words) {
  uint64_t lanes[32] = {};
  for (int64_t i = 0; i < words; i += 32) {
    for (int64_t j = 0; j < 32; ++j) lanes[j] ^= data[i + j];
  }
  uint64_t all = 0;
  for (const uint64_t lane : lanes) all ^= lane;
  return all;
}

}  // namespace

double MeasureReadBandwidth(ThreadPool& pool) {
  const AlignedBuffer buffer(kBytes);
  auto* data = buffer.as<uint64_t>();
  const int64_t pieces = kBytes / kPiece;
  const int64_t words = kPiece / static_cast<int64_t>(sizeof(uint64_t));
  pool.ParallelFor(pieces, [&](int64_t piece, int) {
    std::memset(data + piece * words, static_cast<int>(piece), kPiece);
  });
  double best = 0.0;
  std::atomic<uint64_t> sink{0};  // keeps the reads alive
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(pieces,
                     [&](int64_t piece, int) { sink ^= Read(data + piece * words, words); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kBytes) / seconds.count());
  }
  return best;
}

}  // namespace tamis::cli
