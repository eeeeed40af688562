// A tensor as a checkpoint file declares it.
#ifndef TAMIS_MODEL_CHECKPOINT_STORED_TENSOR_H_
#define TAMIS_MODEL_CHECKPOINT_STORED_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/checkpoint.h"

namespace tamis {

struct StoredTensor {
  std::string name;  ///< as the file spells it
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;  ///< slowest dimension first
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// Bytes that `shape` takes in `type`. Throws Error beginning with `label` where a dimension is
/// below 1, rows are not whole blocks, or the product does not fit 63 bits.
size_t TensorBytes(std::string_view label, std::string_view name, WeightType type,
                   const std::vector<int64_t>& shape);

/// Text of a file made fit for terminals, JSON and one-line messages: at most 80 bytes, all but
/// printable ASCII as '?'.
std::string Printable(std::string_view text);

/// "[576, 1536]".
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_STORED_TENSOR_H_
