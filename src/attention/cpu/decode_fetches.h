// How far ahead of their use decoding fetches keys and values, processor by processor.
#ifndef TAMIS_ATTENTION_CPU_DECODE_FETCHES_H_
#define TAMIS_ATTENTION_CPU_DECODE_FETCHES_H_

#include "attention/cpu/kernels.h"
#include "base/cpu_family.h"

namespace tamis::cpu {

struct DecodeFetches {
  FetchAhead keys;
  FetchAhead values;
};

/// What reads rows that follow one another fastest there, as measured (docs/perf-log.md). Results
/// do not depend on it.
inline DecodeFetches DecodeFetchesOf(CpuFamily family) {
  switch (family) {
    case CpuFamily::kZen4:
      // Its L1 has 24 line buffers, which fetches would take from the loads.
      return {.keys = {}, .values = {}};
    case CpuFamily::kZen5:
      // How well its own fetching does changes by a quarter with the addresses of the code.
      return {.keys = {.bytes = 16 << 10, .into_l1 = true},
              .values = {.bytes = 16 << 10, .into_l1 = true}};
    case CpuFamily::kOther:
      break;
  }
  return {.keys = {.bytes = 16 << 10}, .values = {.bytes = 16 << 10}};
}

/// `processor`'s for rows that follow one another. Where the rows of a head lie apart, as in
/// [tokens, heads, dim], those ahead share a handful of L1 sets, and fetches of keys only take what
/// the loads need.
inline DecodeFetches FetchesFor(const DecodeFetches& processor, int64_t stride, int64_t row_bytes) {
  if (stride == row_bytes) return processor;
  return {.keys = {}, .values = {.bytes = 16 << 10}};
}

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_DECODE_FETCHES_H_
