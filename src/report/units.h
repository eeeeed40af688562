// Numbers as people read them.
#ifndef TAMIS_REPORT_UNITS_H_
#define TAMIS_REPORT_UNITS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tamis {

/// Three significant digits, never an exponent: "1234", "123", "12.3", "1.23", "0.123". Not finite:
/// "-".
std::string FormatNumber(double value);
/// Two significant digits for quantities that may be tiny: "0.12", "0.0012", "3.4e-05", "0".
std::string FormatSmall(double value);
/// "4,096".
std::string FormatCount(int64_t value);
/// "23.1%" of 0.231. Just below or above a bound never rounds onto it: "<100%", "<0.1%".
std::string FormatPercent(double share);
/// "512 B", "94.0 MiB".
std::string FormatBytes(size_t bytes);
/// "12.3 µs", "12.3 ms", "6.21 s", "2 min 05 s".
std::string FormatSeconds(double seconds);
/// Billions and millions of parameters: "8.03 B", "135 M".
std::string FormatMagnitude(int64_t value);

}  // namespace tamis

#endif  // TAMIS_REPORT_UNITS_H_
