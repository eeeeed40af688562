// Opens bytes as a GGUF checkpoint: only tamis::Error may come out, and what opens must be
// readable.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/checkpoint/decoder_tensors.h"
#include "model/checkpoint/gguf_file.h"
#include "model/checkpoint/open.h"
#include "tamis/error.h"

namespace {

void ReadEverything(const tamis::Checkpoint& checkpoint) {
  std::vector<float> values;
  for (const auto& tensor : tamis::DecoderTensors(checkpoint.config())) {
    const int64_t rows = tensor.rows > 0 ? tensor.rows : 1;
    const tamis::Weight weight = checkpoint.Find(tensor.name, rows, tensor.columns);
    values.resize(static_cast<size_t>(weight.columns));
    for (int64_t row = 0; row < rows; ++row) {
      DequantizeRow(weight.type, weight.Row(row), weight.columns, values.data());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    ReadEverything(*tamis::OpenGguf({data, size}, {.label = "fuzz", .name = "fuzz"}));
  } catch (const tamis::Error&) {
  }
  return 0;
}
