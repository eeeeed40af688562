#include "tamis/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace tamis {
namespace {

TEST(ThreadPool, RunsOnceOnEachWorker) {
  for (int size : {1, 2, 5}) {
    ThreadPool pool(size);
    ASSERT_EQ(pool.size(), size);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> calls(size, 0);
      pool.Run([&](int worker) { ++calls[worker]; });
      EXPECT_EQ(calls, std::vector<int>(size, 1));
    }
  }
}

TEST(ThreadPool, HandsOutEachItemOnce) {
  ThreadPool pool(3);
  for (int64_t items : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> calls(items);
    pool.ParallelFor(items, [&](int64_t item, int) { ++calls[item]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST(ThreadPool, RethrowsAndGoesOn) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.ParallelFor(100,
                                [](int64_t item, int) {
                                  if (item == 57) throw std::runtime_error("57");
                                }),
               std::runtime_error);
  std::atomic<int> sum{0};
  pool.ParallelFor(100, [&](int64_t item, int) { sum += static_cast<int>(item); });
  EXPECT_EQ(sum, 4950);
}

}  // namespace
}  // namespace tamis
