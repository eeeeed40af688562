// Counting what the mask allows and the index visits: no scores needed.
#ifndef TAMIS_ATTENTION_CPU_COUNTS_H_
#define TAMIS_ATTENTION_CPU_COUNTS_H_

#include "attention/cpu/call.h"

namespace tamis::cpu {

/// Overwrites the call's counts with allowed and visited pairs and tiles and lambda_saturated;
/// kept_pairs start at visited_pairs and skipped_tiles at zero, for AddDrops. Does nothing where
/// counts are not wanted.
void CountVisited(const Call& call);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_COUNTS_H_
