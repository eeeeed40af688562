#include "model/naive_decoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/rotary.h"

namespace tamis::testing {
namespace {

using Row = std::vector<double>;

struct Matrix {
  int64_t columns = 0;
  std::vector<float> values;

  Row operator*(const Row& x) const {
    Row y(values.size() / static_cast<size_t>(columns));
    for (size_t r = 0; r < y.size(); ++r) {
      for (size_t c = 0; c < x.size(); ++c) y[r] += values[r * x.size() + c] * x[c];
    }
    return y;
  }
};

Matrix Get(const TestModel& model, const std::string& name) {
  for (const TestTensor& tensor : model.tensors) {
    if (tensor.name != name) continue;
    Matrix matrix{tensor.shape.back(), {}};
    const int64_t rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
    const size_t row_bytes = tensor.data.size() / static_cast<size_t>(rows);
    matrix.values.resize(static_cast<size_t>(rows * matrix.columns));
    for (int64_t r = 0; r < rows; ++r) {
      DequantizeRow(tensor.type, tensor.data.data() + r * row_bytes, matrix.columns,
                    matrix.values.data() + r * matrix.columns);
    }
    return matrix;
  }
  return {};
}

void Normalize(std::span<double> x, const std::vector<float>& weight, double epsilon) {
  double squares = 0.0;
  for (const double value : x) squares += value * value;
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= scale * weight[i];
}

Row Normalized(Row x, const std::vector<float>& weight, double epsilon) {
  Normalize(x, weight, epsilon);
  return x;
}

void AddTo(Row& x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

class Layer {
 public:
  Layer(const TestModel& model, int32_t index) : config_(model.config) {
    const std::string prefix = "model.layers." + std::to_string(index) + ".";
    for (const char* name : {"q", "k", "v"}) {
      const std::string at = prefix + "self_attn." + name;
      project_.push_back(Get(model, at + "_proj.weight"));
      bias_.push_back(Get(model, at + "_proj.bias").values);
      head_norm_.push_back(Get(model, at + "_norm.weight").values);
    }
    o_ = Get(model, prefix + "self_attn.o_proj.weight");
    gate_ = Get(model, prefix + "mlp.gate_proj.weight");
    up_ = Get(model, prefix + "mlp.up_proj.weight");
    down_ = Get(model, prefix + "mlp.down_proj.weight");
    norm_ = Get(model, prefix + "input_layernorm.weight").values;
    post_norm_ = Get(model, prefix + "post_attention_layernorm.weight").values;
  }

  void Run(std::vector<Row>& x) const {
    std::vector<Row> q, k, v;
    for (size_t t = 0; t < x.size(); ++t) {
      const Row input = Normalized(x[t], norm_, config_.rms_epsilon);
      q.push_back(Head(0, input, static_cast<int32_t>(t)));
      k.push_back(Head(1, input, static_cast<int32_t>(t)));
      v.push_back(Head(2, input, static_cast<int32_t>(t)));
    }
    for (size_t t = 0; t < x.size(); ++t) {
      AddTo(x[t], o_ * Attend(q[t], k, v, t));
      const Row input = Normalized(x[t], post_norm_, config_.rms_epsilon);
      Row inner = gate_ * input;
      const Row up = up_ * input;
      for (size_t i = 0; i < inner.size(); ++i) {
        inner[i] = inner[i] / (1.0 + std::exp(-inner[i])) * up[i];
      }
      AddTo(x[t], down_ * inner);
    }
  }

 private:
  /// Query (0), key (1) or value (2) heads of a token.
  Row Head(int which, const Row& input, int32_t position) const {
    Row y = project_[which] * input;
    for (size_t i = 0; i < bias_[which].size(); ++i) y[i] += bias_[which][i];
    if (which == 2) return y;
    const auto dim = static_cast<size_t>(config_.head_dim);
    const std::vector<float> frequencies = Rotary(config_.rope, config_.head_dim).frequencies();
    for (size_t head = 0; head < y.size() / dim; ++head) {
      const std::span<double> h(y.data() + head * dim, dim);
      if (!head_norm_[which].empty()) Normalize(h, head_norm_[which], config_.rms_epsilon);
      for (size_t i = 0; i < dim / 2; ++i) {
        const double angle = static_cast<double>(position) * frequencies[i];
        const double a = h[i];
        const double b = h[dim / 2 + i];
        h[i] = a * std::cos(angle) - b * std::sin(angle);
        h[dim / 2 + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return y;
  }

  Row Attend(const Row& q, const std::vector<Row>& k, const std::vector<Row>& v,
             size_t last) const {
    const auto dim = static_cast<size_t>(config_.head_dim);
    const auto group = static_cast<size_t>(config_.q_heads / config_.kv_heads);
    Row out(q.size());
    for (size_t head = 0; head < static_cast<size_t>(config_.q_heads); ++head) {
      const size_t kv = head / group * dim;
      Row weights(last + 1);
      for (size_t t = 0; t <= last; ++t) {
        for (size_t i = 0; i < dim; ++i) weights[t] += q[head * dim + i] * k[t][kv + i];
        weights[t] /= std::sqrt(static_cast<double>(dim));
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double sum = 0.0;
      for (double& weight : weights) sum += weight = std::exp(weight - top);
      for (size_t t = 0; t <= last; ++t) {
        for (size_t i = 0; i < dim; ++i) out[head * dim + i] += weights[t] / sum * v[t][kv + i];
      }
    }
    return out;
  }

  const ModelConfig& config_;
  std::vector<Matrix> project_;
  std::vector<std::vector<float>> bias_, head_norm_;
  Matrix o_, gate_, up_, down_;
  std::vector<float> norm_, post_norm_;
};

}  // namespace

std::vector<double> NaiveLogits(const TestModel& model, std::span<const int32_t> tokens) {
  const Matrix embedding = Get(model, "model.embed_tokens.weight");
  std::vector<Row> x;
  for (const int32_t token : tokens) {
    const float* row = embedding.values.data() + token * embedding.columns;
    x.emplace_back(row, row + embedding.columns);
  }
  for (int32_t i = 0; i < model.config.layers; ++i) Layer(model, i).Run(x);
  const Matrix output = model.config.tied_embeddings ? embedding : Get(model, "lm_head.weight");
  const std::vector<float> norm = Get(model, "model.norm.weight").values;
  std::vector<double> logits;
  for (const Row& row : x) {
    const Row y = output * Normalized(row, norm, model.config.rms_epsilon);
    logits.insert(logits.end(), y.begin(), y.end());
  }
  return logits;
}

}  // namespace tamis::testing
