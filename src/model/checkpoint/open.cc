#include "model/checkpoint/open.h"

#include <map>
#include <utility>

#include "base/check.h"
#include "model/checkpoint/decoder_tensors.h"
#include "model/checkpoint/gguf_config.h"
#include "model/checkpoint/gguf_file.h"
#include "model/checkpoint/hf_config.h"

namespace tamis {
namespace {

enum class Naming : uint8_t { kHuggingFace, kGguf };

class LoadedCheckpoint final : public Checkpoint {
 public:
  LoadedCheckpoint(std::string format, Naming naming, ModelConfig config,
                   std::optional<TokenizerMetadata> tokenizer,
                   const std::vector<StoredTensor>& stored, Origin origin)
      : format_(std::move(format)),
        config_(std::move(config)),
        tokenizer_(std::move(tokenizer)),
        origin_(std::move(origin)) {
    TakeTensors(naming, stored);
  }

  const ModelConfig& config() const override { return config_; }
  const std::optional<TokenizerMetadata>& tokenizer() const override { return tokenizer_; }
  const std::string& directory() const override { return origin_.directory; }
  bool Has(std::string_view name) const override { return weights_.contains(name); }

  Weight Find(std::string_view name, int64_t rows, int64_t columns) const override {
    const auto found = weights_.find(name);
    Require(found != weights_.end(), "{}: there is no tensor {}", origin_.label, Printable(name));
    const Weight& weight = found->second;
    Require(weight.rows == rows && weight.columns == columns,
            "{}: tensor {} is [{}, {}]; [{}, {}] is asked for", origin_.label, name, weight.rows,
            weight.columns, rows, columns);
    return weight;
  }

  CheckpointSummary Summary() const override {
    return {format_, config_, summaries_, parameters_, bytes_};
  }

 private:
  // Holds the stored tensors against those the configuration implies: none missing, none of another
  // shape, and none left over, since a tensor without a place is a computation left out.
  void TakeTensors(Naming naming, const std::vector<StoredTensor>& stored) {
    std::map<std::string_view, const StoredTensor*> by_name;
    for (const StoredTensor& tensor : stored) {
      Require(by_name.emplace(tensor.name, &tensor).second, "{}: tensor {} occurs twice",
              origin_.label, Printable(tensor.name));
    }
    for (const DecoderTensor& wanted : DecoderTensors(config_)) {
      const std::string& name = naming == Naming::kGguf ? wanted.gguf_name : wanted.name;
      const auto found = by_name.find(name);
      Require(found != by_name.end(), "{}: tensor {} is missing", origin_.label, name);
      Take(naming, wanted, *found->second);
      by_name.erase(found);
    }
    for (const auto& [name, tensor] : by_name) {
      Require(MayBeLeftOver(naming, name),
              "{}: tensor {} is not part of a {} decoder as tamis runs it", origin_.label,
              Printable(name), tamis::Name(config_.architecture));
    }
  }

  void Take(Naming naming, const DecoderTensor& wanted, const StoredTensor& tensor) {
    std::vector<int64_t> shape{wanted.columns};
    if (wanted.rows > 0) shape.insert(shape.begin(), wanted.rows);
    Require(tensor.shape == shape, "{}: tensor {} has shape {}; the configuration says {}",
            origin_.label, tensor.name, ShapeText(tensor.shape), ShapeText(shape));
    Weight weight;
    weight.type = tensor.type;
    weight.rows = wanted.rows > 0 ? wanted.rows : 1;
    weight.columns = wanted.columns;
    weight.data = tensor.data;
    weight.row_bytes = RowBytes(tensor.type, wanted.columns);
    if (wanted.rotated && naming == Naming::kGguf && config_.architecture == Architecture::kLlama) {
      weight.interleaved_head_dim = config_.head_dim;
    }
    weights_.emplace(wanted.name, weight);
    summaries_.push_back(
        {wanted.name, std::string(tamis::Name(tensor.type)), tensor.shape, tensor.bytes});
    parameters_ += weight.rows * weight.columns;
    bytes_ += tensor.bytes;
  }

  bool MayBeLeftOver(Naming naming, std::string_view name) const {
    // Read into RopeConfig already.
    if (naming == Naming::kGguf) return name == "rope_freqs.weight";
    // A copy of the embeddings, and the rotary frequencies that old transformers saved.
    if (name == "lm_head.weight") return config_.tied_embeddings;
    return name.ends_with(".self_attn.rotary_emb.inv_freq");
  }

  std::string format_;
  ModelConfig config_;
  std::optional<TokenizerMetadata> tokenizer_;
  Origin origin_;
  std::map<std::string, Weight, std::less<>> weights_;
  std::vector<TensorSummary> summaries_;
  int64_t parameters_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Checkpoint> OpenGguf(std::span<const uint8_t> bytes, Origin origin) {
  const GgufFile file(bytes, origin.label);
  ModelConfig config = GgufModelConfig(file, origin.name);
  std::optional<TokenizerMetadata> tokenizer = GgufTokenizer(file);
  Require(!tokenizer.has_value() || tokenizer->tokens.size() <= static_cast<size_t>(config.vocab),
          "{}: the tokenizer has {} tokens, the model only {}", origin.label,
          tokenizer.has_value() ? tokenizer->tokens.size() : 0, config.vocab);
  return std::make_unique<LoadedCheckpoint>("GGUF v3", Naming::kGguf, std::move(config),
                                            std::move(tokenizer), file.tensors(),
                                            std::move(origin));
}

std::unique_ptr<Checkpoint> OpenSafetensors(std::string_view config,
                                            const std::vector<StoredTensor>& tensors, size_t shards,
                                            Origin origin) {
  ModelConfig model =
      ParseHfConfig(config, fmt::format("{}/config.json", origin.directory), origin.name);
  std::string format =
      shards == 1 ? std::string("safetensors") : fmt::format("safetensors ({} shards)", shards);
  return std::make_unique<LoadedCheckpoint>(std::move(format), Naming::kHuggingFace,
                                            std::move(model), std::nullopt, tensors,
                                            std::move(origin));
}

}  // namespace tamis
