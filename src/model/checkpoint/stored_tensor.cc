#include "model/checkpoint/stored_tensor.h"

#include <fmt/ranges.h>

#include "base/check.h"

namespace tamis {

size_t TensorBytes(std::string_view label, std::string_view name, WeightType type,
                   const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  int64_t columns = 1;
  int64_t elements = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    Require(shape[i] >= 1, "{}: tensor {} has a dimension of {}; all must be at least 1", label,
            Printable(name), shape[i]);
    Require(!__builtin_mul_overflow(elements, shape[i], &elements),
            "{}: tensor {} with shape {} is too large to address", label, Printable(name),
            ShapeText(shape));
    if (i + 1 == shape.size()) {
      columns = shape[i];
    } else {
      rows *= shape[i];
    }
  }
  const int64_t block = BlockValues(type);
  Require(columns % block == 0,
          "{}: tensor {} is {} with rows of {}, which is not a multiple of {}", label,
          Printable(name), Name(type), columns, block);
  int64_t bytes = 0;
  Require(elements <= INT64_MAX / 4 &&
              !__builtin_mul_overflow(rows, static_cast<int64_t>(RowBytes(type, columns)), &bytes),
          "{}: tensor {} with shape {} is too large to address", label, Printable(name),
          ShapeText(shape));
  return static_cast<size_t>(bytes);
}

std::string Printable(std::string_view text) {
  constexpr size_t kLimit = 80;
  std::string result(text.substr(0, kLimit));
  for (char& c : result) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  if (text.size() > kLimit) result += "...";
  return result;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace tamis
