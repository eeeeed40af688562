#include "report/units.h"

#include <fmt/format.h>

#include <cmath>

namespace tamis {

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return "-";
  const double magnitude = std::abs(value);
  if (magnitude >= 99.95 || value == 0.0) return fmt::format("{:.0f}", value);
  if (magnitude >= 9.995) return fmt::format("{:.1f}", value);
  if (magnitude >= 0.9995) return fmt::format("{:.2f}", value);
  return fmt::format("{:.3f}", value);
}

std::string FormatSmall(double value) {
  if (!std::isfinite(value)) return "-";
  if (value == 0.0) return "0";
  const double magnitude = std::abs(value);
  if (magnitude < 9.95e-4) return fmt::format("{:.1e}", value);
  if (magnitude < 9.95e-3) return fmt::format("{:.4f}", value);
  if (magnitude < 9.95e-2) return fmt::format("{:.3f}", value);
  return fmt::format("{:.2f}", value);
}

std::string FormatCount(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string FormatPercent(double share) {
  if (!std::isfinite(share)) return "-";
  if (share == 0.0) return "0%";
  if (share == 1.0) return "100%";
  const double percent = 100.0 * share;
  if (percent > 0.0 && percent < 0.05) return "<0.1%";
  if (percent < 100.0 && percent >= 99.95) {
    return percent >= 99.995 ? "<100%" : fmt::format("{:.2f}%", percent);
  }
  return fmt::format("{:.1f}%", percent);
}

std::string FormatBytes(size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1023.5) break;
    value /= 1024.0;
    unit = next;
  }
  return fmt::format("{} {}", FormatNumber(value), unit);
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 0.9995e-3) return fmt::format("{} µs", FormatNumber(seconds * 1e6));
  if (seconds < 0.9995) return fmt::format("{} ms", FormatNumber(seconds * 1e3));
  if (seconds < 59.95) return fmt::format("{} s", FormatNumber(seconds));
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  return fmt::format("{} min {:02} s", whole / 60, whole % 60);
}

std::string FormatMagnitude(int64_t value) {
  const auto real = static_cast<double>(value);
  if (real >= 0.9995e9) return FormatNumber(real / 1e9) + " B";
  if (real >= 0.9995e6) return FormatNumber(real / 1e6) + " M";
  return FormatCount(value);
}

}  // namespace tamis
