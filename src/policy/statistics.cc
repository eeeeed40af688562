#include "tamis/policy.h"

namespace tamis {

PhaseStatistics& PhaseStatistics::operator+=(const PhaseStatistics& other) {
  counts += other.counts;
  select_seconds += other.select_seconds;
  attend_seconds += other.attend_seconds;
  retained_mass_sum += other.retained_mass_sum;
  retained_rows += other.retained_rows;
  return *this;
}

PhaseStatistics PolicyStatistics::Total(Phase phase) const {
  PhaseStatistics total;
  for (const PhaseStatistics& layer : phase == Phase::kPrefill ? prefill : decode) total += layer;
  return total;
}

}  // namespace tamis
