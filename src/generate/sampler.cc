// Drawing a token from logits.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/portable_exp.h"
#include "tamis/generate.h"

namespace tamis {
namespace {

/// Best logit first, ties to the lowest id: a total order, so that partial sorts of any library
/// give the same list.
bool Better(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

/// The best id. Throws Error where there is none: not a number, or infinite.
int32_t Best(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    Require(!std::isnan(logits[i]) && logits[i] < INFINITY,
            "the model gave the logit {} for token {}: the checkpoint is damaged, or its values "
            "leave the range of its dtype; try --dtype f32",
            logits[i], i);
    if (logits[i] > logits[best]) best = i;
  }
  Require(logits[best] > -INFINITY, "the model gave no token a finite logit");
  return static_cast<int32_t>(best);
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), generator_(options.seed) {
  Require(std::isfinite(options.temperature) && options.temperature >= 0.0,
          "temperature {} is out of range; give 0 (greedy) or more", options.temperature);
  Require(options.top_k >= 0, "top-k {} is negative; give 0 (all tokens) or more", options.top_k);
  Require(options.top_p > 0.0 && options.top_p <= 1.0,
          "top-p {} is out of range; give more than 0, at most 1", options.top_p);
}

// Temperature, then top-k, then top-p among what is left, as the transformers library orders them.
int32_t Sampler::Sample(std::span<const float> logits) {
  Require(!logits.empty(), "there are no logits to sample from");
  const int32_t best = Best(logits);
  if (options_.temperature == 0.0) return best;

  const double maximum = logits[best];
  const auto weight = [&](float logit) {
    return PortableExp((double{logit} - maximum) / options_.temperature);
  };
  // 53 random bits: the same on every platform, unlike the standard distributions.
  const double uniform = static_cast<double>(generator_() >> 11) * 0x1p-53;

  scratch_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    scratch_.emplace_back(logits[i], static_cast<int32_t>(i));
  }
  size_t candidates = scratch_.size();
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates) {
    candidates = static_cast<size_t>(options_.top_k);
    std::partial_sort(scratch_.begin(), scratch_.begin() + candidates, scratch_.end(), Better);
  }
  double total = 0.0;
  for (size_t i = 0; i < candidates; ++i) total += weight(scratch_[i].first);

  if (options_.top_p < 1.0) {
    // The fewest best tokens that hold top_p of the mass, sorting only as far as needed.
    const double wanted = options_.top_p * total;
    double mass = 0.0;
    size_t kept = 0;
    size_t sorted = 0;
    while (kept < candidates && mass < wanted) {
      if (kept == sorted) {
        sorted = std::min(candidates, std::max<size_t>(64, 4 * sorted));
        std::partial_sort(scratch_.begin() + kept, scratch_.begin() + sorted,
                          scratch_.begin() + candidates, Better);
      }
      mass += weight(scratch_[kept++].first);
    }
    candidates = kept;
    total = mass;
  }

  double left = uniform * total;
  for (size_t i = 0; i < candidates; ++i) {
    left -= weight(scratch_[i].first);
    if (left < 0.0) return scratch_[i].second;
  }
  return best;  // rounding left a crumb of the mass undrawn
}

}  // namespace tamis
