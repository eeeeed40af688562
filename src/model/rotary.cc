#include "model/rotary.h"

#include <cmath>
#include <numbers>

namespace tamis {
namespace {

/// Llama 3's scaling: waves longer than the original context divided by the low factor turn
/// `factor` times slower, those shorter than by the high factor stay, and between them the two are
/// mixed.
double Scaled(double frequency, const RopeConfig& rope) {
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  const double context = rope.original_max_positions;
  if (wavelength > context / rope.low_frequency_factor) return frequency / rope.factor;
  if (wavelength < context / rope.high_frequency_factor) return frequency;
  const double mix = (context / wavelength - rope.low_frequency_factor) /
                     (rope.high_frequency_factor - rope.low_frequency_factor);
  return (1.0 - mix) * frequency / rope.factor + mix * frequency;
}

}  // namespace

Rotary::Rotary(const RopeConfig& rope, int32_t head_dim) : frequencies_(head_dim / 2) {
  for (int32_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    float frequency = 1.0f / static_cast<float>(std::pow(rope.theta, double{exponent}));
    if (!rope.frequency_factors.empty()) {
      frequency /= rope.frequency_factors[i];
    } else if (rope.factor != 1.0) {
      frequency = static_cast<float>(Scaled(frequency, rope));
    }
    frequencies_[i] = frequency;
  }
}

void Rotary::Angles(int32_t position, float* cosine, float* sine) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    cosine[i] = static_cast<float>(std::cos(double{angle}));
    sine[i] = static_cast<float>(std::sin(double{angle}));
  }
}

}  // namespace tamis
