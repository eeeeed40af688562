// Opening a checkpoint from bytes: what Checkpoint::Open does once files are mapped.
#ifndef TAMIS_MODEL_CHECKPOINT_OPEN_H_
#define TAMIS_MODEL_CHECKPOINT_OPEN_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/stored_tensor.h"

namespace tamis {

/// Where a checkpoint came from.
struct Origin {
  std::string label;              ///< begins error messages: a path
  std::string name;               ///< of a model that does not name itself
  std::string directory;          ///< where a tokenizer.json would lie
  std::vector<MappedFile> files;  ///< kept as long as the checkpoint; may be empty
};

/// `bytes` of a GGUF file; must outlive the checkpoint (as Origin::files does).
std::unique_ptr<Checkpoint> OpenGguf(std::span<const uint8_t> bytes, Origin origin);

/// `config`: text of a config.json. `tensors`: of `shards` parsed files, whose bytes must outlive
/// the checkpoint.
std::unique_ptr<Checkpoint> OpenSafetensors(std::string_view config,
                                            const std::vector<StoredTensor>& tensors, size_t shards,
                                            Origin origin);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_OPEN_H_
