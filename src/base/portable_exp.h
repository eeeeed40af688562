// An exponential that gives the same bits on every machine.
#ifndef TAMIS_BASE_PORTABLE_EXP_H_
#define TAMIS_BASE_PORTABLE_EXP_H_

#include <bit>
#include <cstdint>

namespace tamis {

/// e^x for x <= 1 (0 below -708), within 2 ulp. Plain IEEE additions and multiplications without a
/// branch, so that loops over it vectorise; the C library's exp differs between machines in the
/// last bit. Sources that include this compile with -ffp-contract=off.
inline double PortableExp(double x) {
  const double clamped = x < -708.0 ? -708.0 : x;
  // Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the fraction.
  constexpr double kRound = 6755399441055744.0;
  const double shifted = clamped * 1.4426950408889634 + kRound;
  const double power = shifted - kRound;
  // ln 2 in two parts; the first has trailing zeros, so that power * first is exact.
  const double r = (clamped - power * 0x1.62e42fefa3800p-1) - power * 0x1.ef35793c76730p-45;
  // Taylor series on |r| <= ln(2) / 2: the first term left out is below 2^-54.
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600.0;
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  const uint64_t exponent = std::bit_cast<uint64_t>(shifted) << 52;
  const double value = std::bit_cast<double>(std::bit_cast<uint64_t>(sum) + exponent);
  return x < -708.0 ? 0.0 : value;
}

}  // namespace tamis

#endif  // TAMIS_BASE_PORTABLE_EXP_H_
