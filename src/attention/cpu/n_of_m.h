// N:M selection on the scores of one row and tile.
#ifndef TAMIS_ATTENTION_CPU_N_OF_M_H_
#define TAMIS_ATTENTION_CPU_N_OF_M_H_

#include <cstdint>

#include "attention/cpu/visible.h"

namespace tamis::cpu {

/// The N:M rule as it applies to one sequence.
class Thinner {
 public:
  Thinner(const Call& call, const SequenceView& sequence, const Visibility& visibility);

  bool active() const { return active_; }
  /// Whether the tile of columns [begin, end) of `step` is thinned for rows of the tile that starts
  /// at `query`.
  bool Thins(const StepKeys& step, int32_t begin, int32_t end, int32_t query) const;
  /// Whether sinks or recent tokens may keep a key of the step dense, for `query` or a later one.
  bool HasDense(const StepKeys& step, int32_t query) const;
  /// Whether 2:4 on aligned columns is all that the rule does to the step's tiles that it thins,
  /// for `query` and later ones.
  bool IsPlainTwoOfFour(const StepKeys& step, int32_t query) const;
  /// Bits of the step's columns that sinks and recent tokens keep dense for `query`.
  RowMask Dense(const StepKeys& step, int32_t query) const;
  /// Thins the rows and columns (one tile) of `tile`, but for its n and m, which the rule gives.
  void Thin(const StepKeys& step, ThinArguments tile) const;

 private:
  RowMask BestByPosition(const float* s, const StepKeys& step, RowMask visible) const;

  const Call& call_;
  const SequenceView& sequence_;
  const Visibility& visibility_;
  bool active_;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_N_OF_M_H_
