#include "cli/read_bandwidth.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

namespace tamis::cli {
namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kPiece = int64_t{1} << 20;
constexpr int kPasses = 3;

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

ReadBandwidth::ReadBandwidth(ThreadPool& pool) : pool_(pool), buffer_(kBytes) {
  pool_.ParallelFor(kBytes / kPiece, [&](int64_t piece, int) {
    std::memset(buffer_.as<char>() + piece * kPiece, static_cast<int>(piece), kPiece);
  });
}

double ReadBandwidth::Sample() {
  constexpr int64_t kWords = kPiece / static_cast<int64_t>(sizeof(uint64_t));
  const auto* data = buffer_.as<uint64_t>();
  std::atomic<uint64_t> sink{0};  // keeps the reads alive
  const auto start = std::chrono::steady_clock::now();
  for (int pass = 0; pass < kPasses; ++pass) {
    pool_.ParallelFor(kBytes / kPiece,
                      [&](int64_t piece, int) { sink ^= Read(data + piece * kWords, kWords); });
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(kBytes * kPasses) / seconds.count();
}

}  // namespace tamis::cli
