// Which keys a query sees through the causality of a mask, for selectors.
#ifndef TAMIS_SELECT_VISIBILITY_H_
#define TAMIS_SELECT_VISIBILITY_H_

#include <cstdint>
#include <limits>

#include "tamis/attention.h"

namespace tamis {

/// The largest key position that causality lets a query at `position` see. Never decreases with
/// `position`, so what a range of queries sees is what its last query sees.
inline int64_t LastVisiblePosition(const AttentionMask& mask, int64_t position) {
  switch (mask.causality) {
    case Causality::kCausal:
      return position;
    case Causality::kBlockCausal: {
      const int64_t g = mask.causal_block;
      const int64_t block = position >= 0 ? position / g : -((g - 1 - position) / g);  // floor
      return block * g + g - 1;
    }
    case Causality::kBidirectional:
      break;
  }
  return std::numeric_limits<int64_t>::max();
}

}  // namespace tamis

#endif  // TAMIS_SELECT_VISIBILITY_H_
