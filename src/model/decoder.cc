#include "model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "base/check.h"

namespace tamis {
namespace {

/// Rows of hidden states turned into logits at a time: bounds the scratch.
constexpr int64_t kLogitRows = 1024;
/// Rows that one worker takes at a time between linear layers; fewer rows are not worth waking
/// others for.
constexpr int64_t kRowRun = 16;

/// Adds the time it lives to a sum of seconds.
class Timer {
 public:
  explicit Timer(double& seconds) : seconds_(seconds) {}
  ~Timer() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

ThreadPool& RequiredPool(const ModelOptions& options) {
  Require(options.pool != nullptr, "ModelOptions::pool is null; give the model a ThreadPool");
  Require(options.dtype == DType::kF32 || options.dtype == DType::kBF16,
          "models do not run in {}; use f32 or bf16", Name(options.dtype));
  return *options.pool;
}

}  // namespace

Decoder::Decoder(std::unique_ptr<Checkpoint> checkpoint, const ModelOptions& options, CpuIsa isa)
    : checkpoint_(std::move(checkpoint)),
      dtype_(options.dtype),
      pool_(RequiredPool(options)),
      kernels_(KernelsFor(isa)),
      weights_(*checkpoint_),
      rotary_(config().rope, config().head_dim),
      linear_(pool_, dtype_, isa),
      weight_bytes_(checkpoint_->Summary().bytes) {}

PolicyTarget Decoder::policy_target() const {
  PolicyTarget target{
      .q_heads = config().q_heads, .kv_heads = config().kv_heads, .head_dim = config().head_dim};
  for (int32_t layer = 0; layer < config().layers; ++layer) {
    target.modules.push_back(fmt::format("model.layers.{}.self_attn", layer));
  }
  return target;
}

CacheGeometry Decoder::geometry() const {
  return {config().layers, config().kv_heads, config().head_dim};
}

std::unique_ptr<KvCache> Decoder::NewCache(const KvCacheOptions& options) const {
  Require(options.dtype == dtype_, "a KV cache in {} for a model that runs in {}; use the same",
          Name(options.dtype), Name(dtype_));
  return NewDecoderCache(geometry(), options);
}

size_t Decoder::scratch_bytes() const {
  size_t bytes = linear_.scratch_bytes();
  for (const AlignedBuffer* buffer :
       {&cosine_, &sine_, &normed_, &q_, &k_, &v_, &attended_, &attended_wide_, &inner_}) {
    bytes += buffer->size();
  }
  return bytes;
}

void Decoder::CheckSteps(std::span<const SequenceStep> steps) {
  Require(!steps.empty(), "a forward pass without sequences; give at least one");
  steps_.clear();
  int64_t rows = 0;
  for (const SequenceStep& step : steps) {
    Require(!step.tokens.empty(), "a sequence without tokens; give at least one token");
    for (const int32_t token : step.tokens) {
      Require(token >= 0 && token < config().vocab,
              "token id {} is not in the model's vocabulary of {}; is it another model's "
              "tokenizer?",
              token, config().vocab);
    }
    Require(step.cache != nullptr, "a sequence without a KV cache; make one with NewCache");
    auto* cache = dynamic_cast<DecoderCache*>(step.cache);
    Require(cache != nullptr && cache->geometry() == geometry(),
            "a KV cache of another model; make it with this model's NewCache");
    Require(cache->dtype() == dtype_, "a KV cache in {} for a model that runs in {}; use the same",
            Name(cache->dtype()), Name(dtype_));
    for (const Step& other : steps_) {
      Require(other.cache != cache, "two sequences of a pass share a KV cache; give each its own");
    }
    constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max() / 2;
    Require(static_cast<int64_t>(step.tokens.size()) <= kMaxRows - rows,
            "more than {} tokens in one pass; use smaller chunks", kMaxRows);
    steps_.push_back({cache, step.tokens.data(), static_cast<int32_t>(step.tokens.size()), rows});
    rows += static_cast<int64_t>(step.tokens.size());
  }
}

void Decoder::ReserveScratch(int64_t rows) {
  const auto floats = [&](int64_t columns) {
    return static_cast<size_t>(rows * columns) * sizeof(float);
  };
  const int64_t head_dim = config().head_dim;
  const int64_t q_size = config().q_heads * head_dim;
  const int64_t kv_size = config().kv_heads * head_dim;
  cosine_.Reserve(floats(head_dim / 2));
  sine_.Reserve(floats(head_dim / 2));
  normed_.Reserve(linear_.ActivationBytes(rows, config().hidden));
  inner_.Reserve(linear_.ActivationBytes(rows, config().feed_forward));
  q_.Reserve(static_cast<size_t>(rows * q_size) * SizeOf(dtype_));
  k_.Reserve(static_cast<size_t>(rows * kv_size) * SizeOf(dtype_));
  v_.Reserve(static_cast<size_t>(rows * kv_size) * SizeOf(dtype_));
  // Where the attention's output is an activation as it stands, it is read with an activation's
  // padding.
  attended_.Reserve(linear_.ActivationBytes(rows, q_size));
  if (linear_.activations() == StoreAs::kF32RoundedToBF16) {
    attended_wide_.Reserve(linear_.ActivationBytes(rows, q_size));
  }
}

template <typename Task>
void Decoder::ForRows(int64_t rows, const Task& task) {
  const int64_t runs = (rows + kRowRun - 1) / kRowRun;
  const auto run_rows = [&](int64_t run, int) {
    task(run * kRowRun, std::min(kRowRun, rows - run * kRowRun));
  };
  pool_.ParallelFor(runs, std::ref(run_rows));
}

void Decoder::Forward(std::span<const SequenceStep> steps, PolicyAttention& attention,
                      float* hidden) {
  CheckSteps(steps);
  const int64_t rows = steps_.back().first_row + steps_.back().count;
  for (const Step& step : steps_) step.cache->Reserve(step.count);
  ReserveScratch(rows);
  try {
    RunLayers(rows, attention, hidden);
  } catch (...) {
    for (const Step& step : steps_) step.cache->Discard();
    throw;
  }
  for (const Step& step : steps_) step.cache->Advance(step.count);
}

void Decoder::RunLayers(int64_t rows, PolicyAttention& attention, float* hidden) {
  Embed(hidden);
  for (int32_t i = 0; i < config().layers; ++i) {
    const DecoderLayer& layer = *weights_.layers[i];
    Normalize(hidden, rows, layer.attention_norm, normed_.data(), linear_.activations());
    ProjectHeads(layer, rows);
    Attend(i, attention);
    const bool widen = linear_.activations() == StoreAs::kF32RoundedToBF16;
    if (widen) {
      const Timer timer(times_.other);
      const int64_t size = int64_t{config().q_heads} * config().head_dim;
      ForRows(rows, [&](int64_t first, int64_t count) {
        kernels_.widen_bf16(attended_.as<uint16_t>() + first * size, count * size,
                            attended_wide_.as<float>() + first * size);
      });
    }
    AddProduct(widen ? attended_wide_.data() : attended_.data(), layer.o_panels, rows, hidden);
    FeedForward(layer, rows, hidden);
  }
  Normalize(hidden, rows, weights_.final_norm, hidden, StoreAs::kF32);
}

void Decoder::Embed(float* hidden) {
  const Timer timer(times_.other);
  const int64_t size = config().hidden;
  const int64_t half = config().head_dim / 2;
  for (const Step& step : steps_) {
    ForRows(step.count, [&](int64_t first, int64_t count) {
      for (int64_t i = first; i < first + count; ++i) {
        const int64_t row = step.first_row + i;
        DequantizeRow(weights_.embedding.type, weights_.embedding.Row(step.tokens[i]), size,
                      hidden + row * size);
        rotary_.Angles(step.cache->positions() + static_cast<int32_t>(i),
                       cosine_.as<float>() + row * half, sine_.as<float>() + row * half);
      }
    });
  }
}

void Decoder::Normalize(const float* hidden, int64_t rows, const std::vector<float>& weight,
                        void* out, StoreAs as) {
  const Timer timer(times_.other);
  const int64_t size = config().hidden;
  const auto epsilon = static_cast<float>(config().rms_epsilon);
  const int64_t bytes = size * (as == StoreAs::kBF16 ? 2 : 4);
  ForRows(rows, [&](int64_t first, int64_t count) {
    kernels_.rms_norm(hidden + first * size, count, size, weight.data(), epsilon,
                      static_cast<uint8_t*>(out) + first * bytes, as);
  });
}

void Decoder::ProjectHeads(const DecoderLayer& layer, int64_t rows) {
  const Timer timer(times_.linear);
  const int64_t head_dim = config().head_dim;
  const int64_t q_heads = config().q_heads;
  const int64_t kv_heads = config().kv_heads;
  const auto finish = [&](const PanelResult& result) {
    HeadPanel head{.values = result.values,
                   .stride = result.stride,
                   .rows = result.rows,
                   .head_dim = head_dim,
                   .epsilon = static_cast<float>(config().rms_epsilon),
                   .as = dtype_ == DType::kBF16 ? StoreAs::kBF16 : StoreAs::kF32};
    if (!layer.qkv_bias.empty()) head.bias = layer.qkv_bias.data() + result.panel * head_dim;
    const bool is_value = result.panel >= q_heads + kv_heads;
    if (!is_value) {
      head.cosine = cosine_.as<float>() + result.first_row * (head_dim / 2);
      head.sine = sine_.as<float>() + result.first_row * (head_dim / 2);
    }
    AlignedBuffer* target = &q_;
    int64_t index = result.panel;
    int64_t heads = q_heads;
    if (result.panel >= q_heads) {
      target = is_value ? &v_ : &k_;
      index = (result.panel - q_heads) % kv_heads;
      heads = kv_heads;
    }
    const std::vector<float>& norm = target == &q_ ? layer.q_norm : layer.k_norm;
    if (!is_value && !norm.empty()) head.norm = norm.data();
    head.out_stride = heads * head_dim;
    head.out = target->as<uint8_t>() +
               (result.first_row * heads + index) * head_dim * static_cast<int64_t>(SizeOf(dtype_));
    kernels_.finish_heads(head);
  };
  linear_.Run(normed_.data(), rows, layer.heads, std::ref(finish));
}

void Decoder::Attend(int32_t layer, PolicyAttention& attention) {
  const Timer timer(times_.attention);
  const int64_t q_size = int64_t{config().q_heads} * config().head_dim;
  const int64_t kv_size = int64_t{config().kv_heads} * config().head_dim;
  const auto element = static_cast<int64_t>(SizeOf(dtype_));
  for (const Step& step : steps_) {
    step.cache->Append(layer, step.count, k_.as<uint8_t>() + step.first_row * kv_size * element,
                       v_.as<uint8_t>() + step.first_row * kv_size * element);
    const Strides strides = {.batch = 0, .row = q_size, .head = config().head_dim};
    AttentionArguments arguments;
    arguments.q_heads = config().q_heads;
    arguments.head_dim = config().head_dim;
    arguments.dtype = dtype_;
    arguments.query_tokens = step.count;
    // One token after others is a step of generation; everything else reads a prompt.
    arguments.phase =
        step.count == 1 && step.cache->positions() > 0 ? Phase::kDecode : Phase::kPrefill;
    arguments.q = {q_.as<uint8_t>() + step.first_row * q_size * element, strides};
    arguments.o = {attended_.as<uint8_t>() + step.first_row * q_size * element, strides};
    step.cache->Describe(layer, arguments);
    attention.Attend(layer, arguments);
  }
}

void Decoder::AddProduct(const void* x, const PanelSet& panels, int64_t rows, float* hidden) {
  const Timer timer(times_.linear);
  const std::span<const Panel> run = panels.For(rows);
  const auto add = [&](const PanelResult& result) {
    const PanelSource& source = run[result.panel].sources[0];
    kernels_.add(result.values, result.stride, result.rows, source.count,
                 hidden + result.first_row * config().hidden + source.first, config().hidden);
  };
  linear_.Run(x, rows, run, std::ref(add));
}

void Decoder::FeedForward(const DecoderLayer& layer, int64_t rows, float* hidden) {
  Normalize(hidden, rows, layer.feed_forward_norm, normed_.data(), linear_.activations());
  {
    const Timer timer(times_.linear);
    const std::span<const Panel> run = layer.gate_up.For(rows);
    const auto finish = [&](const PanelResult& result) {
      const Panel& panel = run[result.panel];
      const PanelSource& gate = panel.sources[0];
      const int64_t stride = config().feed_forward;
      const int64_t element = linear_.activations() == StoreAs::kBF16 ? 2 : 4;
      kernels_.swiglu(result.values, result.values + panel.offset(1), result.stride, result.rows,
                      gate.count,
                      inner_.as<uint8_t>() + (result.first_row * stride + gate.first) * element,
                      stride, linear_.activations());
    };
    linear_.Run(normed_.data(), rows, run, std::ref(finish));
  }
  AddProduct(inner_.data(), layer.down_panels, rows, hidden);
}

void Decoder::Logits(const float* hidden, int32_t rows, float* logits) {
  Require(rows >= 1, "logits of {} rows; give at least one", rows);
  const int64_t size = config().hidden;
  const int64_t vocab = config().vocab;
  const int64_t element = linear_.activations() == StoreAs::kBF16 ? 2 : 4;
  normed_.Reserve(linear_.ActivationBytes(std::min<int64_t>(rows, kLogitRows), size));
  for (int64_t begin = 0; begin < rows; begin += kLogitRows) {
    const int64_t count = std::min(kLogitRows, rows - begin);
    {
      const Timer timer(times_.other);
      ForRows(count, [&](int64_t first, int64_t run) {
        kernels_.store(hidden + (begin + first) * size, run * size,
                       normed_.as<uint8_t>() + first * size * element, linear_.activations());
      });
    }
    const Timer timer(times_.linear);
    const std::span<const Panel> panels = weights_.output_panels.For(count);
    float* out = logits + begin * vocab;
    const auto copy = [&](const PanelResult& result) {
      const PanelSource& source = panels[result.panel].sources[0];
      for (int64_t r = 0; r < result.rows; ++r) {
        std::copy_n(result.values + r * result.stride, source.count,
                    out + (result.first_row + r) * vocab + source.first);
      }
    };
    linear_.Run(normed_.data(), count, panels, std::ref(copy));
  }
}

std::unique_ptr<Model> Model::Load(const std::string& path, const ModelOptions& options) {
  return std::make_unique<Decoder>(Checkpoint::Open(path), options, DetectCpuIsa());
}

}  // namespace tamis
