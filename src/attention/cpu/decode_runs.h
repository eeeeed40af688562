// Runs of keys that decoding reads without a gap.
#ifndef TAMIS_ATTENTION_CPU_DECODE_RUNS_H_
#define TAMIS_ATTENTION_CPU_DECODE_RUNS_H_

#include <cstdint>

#include "attention/cpu/kernels.h"

namespace tamis::cpu {

/// Calls work(first key, number of keys) for every run of keys in columns[0..] of the block steps
/// [first, last): runs go on from one step to the next, since hardware fetches ahead within them.
template <typename Work>
void ForRuns(const ColumnRange* columns, int32_t first, int32_t last, const Work& work) {
  int32_t begin = 0, end = 0;
  const auto flush = [&] {
    if (begin < end) work(begin, end - begin);
  };
  for (int32_t s = first; s < last; ++s) {
    const ColumnRange& step = columns[s - first];
    if (step.begin >= step.end) continue;
    if (s * kStepKeys + step.begin != end) {
      flush();
      begin = s * kStepKeys + step.begin;
    }
    end = s * kStepKeys + step.end;
  }
  flush();
}

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_DECODE_RUNS_H_
