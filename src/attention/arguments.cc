#include "base/check.h"
#include "tamis/attention.h"

namespace tamis {

AttentionCounts& AttentionCounts::operator+=(const AttentionCounts& other) {
  allowed_pairs += other.allowed_pairs;
  visited_pairs += other.visited_pairs;
  kept_pairs += other.kept_pairs;
  visited_tiles += other.visited_tiles;
  skipped_tiles += other.skipped_tiles;
  lambda_saturated += other.lambda_saturated;
  return *this;
}

double AttentionCounts::density() const {
  if (allowed_pairs == 0) return 1.0;
  return static_cast<double>(visited_pairs) / static_cast<double>(allowed_pairs);
}

double AttentionCounts::skipped_share() const {
  if (visited_tiles == 0) return 0.0;
  return static_cast<double>(skipped_tiles) / static_cast<double>(visited_tiles);
}

std::string_view Name(Device device) {
  switch (device) {
    case Device::kCpu:
      return "cpu";
    case Device::kCuda:
      return "cuda";
  }
  return "?";
}

Device ParseDevice(std::string_view name) {
  for (Device device : {Device::kCpu, Device::kCuda}) {
    if (name == Name(device)) return device;
  }
  Fail("unknown device '{}'; use cpu or cuda", name);
}

}  // namespace tamis
