// The worker threads of the CPU executor, the selectors and the linear layers.
#ifndef TAMIS_THREAD_POOL_H_
#define TAMIS_THREAD_POOL_H_

#include <cstdint>
#include <functional>
#include <memory>

namespace tamis {

/// A fixed team of threads. The calling thread is worker 0, so a pool of one starts no thread.
/// One thread at a time may call Run or ParallelFor; neither may be called from inside a task.
/// An exception thrown by a task is rethrown to the caller once every worker has finished.
class ThreadPool {
 public:
  /// `threads` >= 1; 0 takes the number of processors this process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls task(worker) once on each worker, worker in [0, size()).
  void Run(const std::function<void(int worker)>& task);

  /// Calls task(item, worker) for each item in [0, items), items handed out in ascending order to
  /// whichever worker is free: put the longest work first.
  void ParallelFor(int64_t items, const std::function<void(int64_t item, int worker)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tamis

#endif  // TAMIS_THREAD_POOL_H_
