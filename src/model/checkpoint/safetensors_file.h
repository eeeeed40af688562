// The safetensors container: tensor table of one file and the index of a sharded model.
#ifndef TAMIS_MODEL_CHECKPOINT_SAFETENSORS_FILE_H_
#define TAMIS_MODEL_CHECKPOINT_SAFETENSORS_FILE_H_

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/stored_tensor.h"

namespace tamis {

/// The tensors of a file, in the order of their data; views into `bytes`. Throws Error beginning
/// with `label` where the header is damaged, data is missing, overlapping or left over, or a dtype
/// is not F32, F16 or BF16.
std::vector<StoredTensor> ParseSafetensors(std::span<const uint8_t> bytes, std::string_view label);

/// Tensor names by shard file, of a model.safetensors.index.json. Throws Error for damage and for
/// shard names that are not plain file names.
std::map<std::string, std::set<std::string>> ParseSafetensorsIndex(std::string_view text,
                                                                   std::string_view label);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_SAFETENSORS_FILE_H_
