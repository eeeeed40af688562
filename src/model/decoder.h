// The forward pass of Llama, Qwen2 and Qwen3: one decoder, whose configuration says where they
// differ (biases on q, k and v; norms on each head's query and key; the rotation's frequencies).
#ifndef TAMIS_MODEL_DECODER_H_
#define TAMIS_MODEL_DECODER_H_

#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/checkpoint/checkpoint.h"
#include "model/cpu/kernels.h"
#include "model/decoder_weights.h"
#include "model/kv_cache.h"
#include "model/linear.h"
#include "model/rotary.h"
#include "tamis/model.h"

namespace tamis {

class Decoder final : public Model {
 public:
  /// Throws Error for a dtype other than f32 and bf16, or no pool.
  Decoder(std::unique_ptr<Checkpoint> checkpoint, const ModelOptions& options, CpuIsa isa);

  const ModelConfig& config() const override { return checkpoint_->config(); }
  PolicyTarget policy_target() const override;
  std::unique_ptr<KvCache> NewCache(const KvCacheOptions& options) const override;
  void Forward(std::span<const SequenceStep> steps, PolicyAttention& attention,
               float* hidden) override;
  void Logits(const float* hidden, int32_t rows, float* logits) override;
  const ForwardTimes& times() const override { return times_; }
  void ResetTimes() override { times_ = {}; }
  size_t weight_bytes() const override { return weight_bytes_; }
  size_t scratch_bytes() const override;

 private:
  /// A sequence of the running pass.
  struct Step {
    DecoderCache* cache;
    const int32_t* tokens;
    int32_t count;
    int64_t first_row;  // of its tokens among the packed rows
  };

  CacheGeometry geometry() const;
  /// Fills steps_. Throws Error for what cannot run.
  void CheckSteps(std::span<const SequenceStep> steps);
  void ReserveScratch(int64_t rows);
  void RunLayers(int64_t rows, PolicyAttention& attention, float* hidden);
  void Embed(float* hidden);
  void ProjectHeads(const DecoderLayer& layer, int64_t rows);
  void Attend(int32_t layer, PolicyAttention& attention);
  void FeedForward(const DecoderLayer& layer, int64_t rows, float* hidden);
  /// hidden += x W^T
  void AddProduct(const void* x, const PanelSet& panels, int64_t rows, float* hidden);
  void Normalize(const float* hidden, int64_t rows, const std::vector<float>& weight, void* out,
                 StoreAs as);
  /// Calls task(first, count) for runs of rows that cover [0, rows), on all workers where the
  /// work is worth waking them.
  template <typename Task>
  void ForRows(int64_t rows, const Task& task);

  std::unique_ptr<Checkpoint> checkpoint_;
  DType dtype_;
  ThreadPool& pool_;
  const Kernels& kernels_;
  DecoderWeights weights_;
  Rotary rotary_;
  Linear linear_;
  size_t weight_bytes_;
  ForwardTimes times_;
  std::vector<Step> steps_;  // of the running pass

  // Scratch of a pass, one row a token. q, k, v and the attention's output are in dtype_,
  // activations as linear_ wants them.
  AlignedBuffer cosine_, sine_;  // [rows][head_dim / 2] f32
  AlignedBuffer normed_;         // [rows][hidden] activations
  AlignedBuffer q_, k_, v_;      // [rows][heads][head_dim]
  AlignedBuffer attended_;       // [rows][q_heads][head_dim]
  AlignedBuffer attended_wide_;  // the same in f32, where dtype_ is no form of activation
  AlignedBuffer inner_;          // [rows][feed_forward] activations
};

}  // namespace tamis

#endif  // TAMIS_MODEL_DECODER_H_
