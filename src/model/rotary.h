// Angles of the rotary embedding.
#ifndef TAMIS_MODEL_ROTARY_H_
#define TAMIS_MODEL_ROTARY_H_

#include <cstdint>
#include <vector>

#include "tamis/model.h"

namespace tamis {

/// Cosines and sines of RoFormer's rotation (arXiv 2104.09864, section 3.2), with Llama 3's scaled
/// frequencies. Angles are products of f32, as in the framework the models were trained with: at
/// position 100 000 that differs from exact angles by some thousandths.
class Rotary {
 public:
  Rotary(const RopeConfig& rope, int32_t head_dim);

  /// Angles a position turns by: head_dim / 2.
  const std::vector<float>& frequencies() const { return frequencies_; }
  /// Writes the head_dim / 2 cosines and sines of a position.
  void Angles(int32_t position, float* cosine, float* sine) const;

 private:
  std::vector<float> frequencies_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_ROTARY_H_
