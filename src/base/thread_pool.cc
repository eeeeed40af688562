#include "tamis/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace tamis {
namespace {

int UsableProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

/// How long a worker polls for the next task before it sleeps: layers of a model follow one
/// another within microseconds, and waking a sleeper costs tens of them.
constexpr int kPolls = 2000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct ThreadPool::State {
  explicit State(int size) : size(size) {}

  void Worker(int worker) {
    uint64_t seen = 0;
    while (true) {
      for (int i = 0; i < kPolls && generation.load(std::memory_order_acquire) == seen; ++i) {
        Pause();
      }
      generation.wait(seen, std::memory_order_acquire);
      const uint64_t now = generation.load(std::memory_order_acquire);
      if (now == seen) continue;
      seen = now;
      if (stopping.load(std::memory_order_relaxed)) return;
      Execute(worker);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }

  void Execute(int worker) noexcept {
    try {
      (*task)(worker);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  const int size;
  std::vector<std::thread> threads;
  std::atomic<uint64_t> generation{0};  // counts tasks; a change wakes the workers
  std::atomic<int> pending{0};          // workers that have not finished the current task
  std::atomic<bool> stopping{false};
  const std::function<void(int)>* task = nullptr;
  std::mutex mutex;  // guards error
  std::exception_ptr error;
};

ThreadPool::ThreadPool(int threads) {
  Require(threads >= 0 && threads <= 4096, "{} threads asked for; give 0 (all) to 4096", threads);
  const int size = threads == 0 ? UsableProcessors() : threads;
  state_ = std::make_unique<State>(size < 1 ? 1 : size);
  for (int worker = 1; worker < state_->size; ++worker) {
    state_->threads.emplace_back([state = state_.get(), worker] { state->Worker(worker); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_relaxed);
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::size() const { return state_->size; }

void ThreadPool::Run(const std::function<void(int)>& task) {
  State& state = *state_;
  state.task = &task;
  state.pending.store(state.size - 1, std::memory_order_relaxed);
  if (state.size > 1) {
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
  }
  state.Execute(0);
  for (int left = state.pending.load(std::memory_order_acquire); left != 0;
       left = state.pending.load(std::memory_order_acquire)) {
    for (int i = 0; i < kPolls && state.pending.load(std::memory_order_acquire) == left; ++i) {
      Pause();
    }
    state.pending.wait(left, std::memory_order_acquire);
  }
  if (state.error) std::rethrow_exception(std::exchange(state.error, nullptr));
}

void ThreadPool::ParallelFor(int64_t items, const std::function<void(int64_t, int)>& task) {
  if (items <= 0) return;
  if (items == 1 || state_->size == 1) {
    for (int64_t item = 0; item < items; ++item) task(item, 0);
    return;
  }
  // One reference, so that std::function keeps it without allocating.
  struct Shared {
    const std::function<void(int64_t, int)>& task;
    int64_t items;
    std::atomic<int64_t> next{0};
  } shared{task, items};
  Run([&shared](int worker) {
    for (int64_t item = shared.next.fetch_add(1, std::memory_order_relaxed); item < shared.items;
         item = shared.next.fetch_add(1, std::memory_order_relaxed)) {
      shared.task(item, worker);
    }
  });
}

}  // namespace tamis
