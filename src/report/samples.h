// Repeated measurements.
#ifndef TAMIS_REPORT_SAMPLES_H_
#define TAMIS_REPORT_SAMPLES_H_

#include <algorithm>
#include <vector>

namespace tamis {

/// The middle value; the mean of the two middle ones where there is none. 0 of nothing.
inline double Median(std::vector<double> samples) {
  if (samples.empty()) return 0.0;
  std::sort(samples.begin(), samples.end());
  const size_t half = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[half] : 0.5 * (samples[half - 1] + samples[half]);
}

/// (largest - smallest) / median: 0 of nothing.
inline double Spread(const std::vector<double>& samples) {
  if (samples.empty()) return 0.0;
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  const double median = Median(samples);
  return median == 0.0 ? 0.0 : (*high - *low) / median;
}

}  // namespace tamis

#endif  // TAMIS_REPORT_SAMPLES_H_
