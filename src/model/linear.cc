#include "model/linear.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>

namespace tamis {
namespace {

/// Rows of one oneDNN call: products of 256 x 64 stay in the second-level cache for the epilogue.
constexpr int64_t kRowBlock = 256;
/// Work items per worker that even out their ends.
constexpr int64_t kItemsPerWorker = 8;
/// Fewer where they would hold fewer bytes of weights than this: what is fetched past the end of an
/// item is for another worker.
constexpr int64_t kItemBytes = int64_t{1} << 20;
constexpr int64_t kLeastItemsPerWorker = 2;

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/// Addresses of a source's weight rows.
struct RowPointers {
  explicit RowPointers(const PanelSource& source) {
    for (int64_t r = 0; r < source.count; ++r) rows[r] = source.weight->Row(source.first + r);
  }
  const uint8_t* rows[Panel::kMaxFeatures];
};

}  // namespace

std::vector<Panel> SplitWeight(const Weight& weight, int64_t features) {
  std::vector<Panel> panels;
  for (int64_t first = 0; first < weight.rows; first += features) {
    Panel panel;
    panel.sources[0] = {&weight, first, std::min(features, weight.rows - first)};
    panels.push_back(panel);
  }
  return panels;
}

struct Linear::Job {
  const void* x;
  int64_t rows;
  int64_t columns;
  std::span<const Panel> panels;
  const std::function<void(const PanelResult&)>& epilogue;
};

Linear::Linear(ThreadPool& pool, DType dtype, CpuIsa isa)
    : pool_(pool),
      kernels_(KernelsFor(isa)),
      multiply_(dtype == DType::kBF16 && isa >= CpuIsa::kAvx512Bf16 ? DType::kBF16 : DType::kF32),
      activations_(multiply_ == DType::kBF16 ? StoreAs::kBF16
                   : dtype == DType::kBF16   ? StoreAs::kF32RoundedToBF16
                                             : StoreAs::kF32),
      gemm_(multiply_, pool.size()),
      workers_(pool.size()) {
  assert(dtype != DType::kF16);
}

size_t Linear::ActivationBytes(int64_t rows, int64_t columns) const {
  return static_cast<size_t>(RoundUp(rows, kRowStep) * columns) * SizeOf(multiply_);
}

void Linear::Run(const void* x, int64_t rows, std::span<const Panel> panels,
                 const std::function<void(const PanelResult&)>& epilogue) {
  if (rows == 0 || panels.empty()) return;
  const Job job{x, rows, panels[0].columns(), panels, epilogue};
  const int64_t block = Direct(rows) ? rows : std::min(RoundUp(rows, kRowStep), kRowBlock);
  int64_t features = 0;
  for (const Panel& panel : panels) features = std::max(features, panel.features());
  for (Worker& worker : workers_) {
    worker.products.Reserve(static_cast<size_t>(block * features) * sizeof(float));
  }
  if (Direct(rows)) {
    RunDirect(job);
  } else {
    const size_t bytes =
        static_cast<size_t>(RoundUp(job.columns, kColumnStep) * RoundUp(features, kPanelBlock)) *
        SizeOf(multiply_);
    for (Worker& worker : workers_) {
      const size_t before = worker.panel.size();
      worker.panel.Reserve(bytes);
      // Features past a panel's last are multiplied, not used: they must only be readable numbers.
      if (worker.panel.size() != before) {
        std::memset(worker.panel.data(), 0, worker.panel.size());
      }
    }
    RunExpanded(job);
  }
}

void Linear::RunDirect(const Job& job) {
  const int64_t stride = RoundUp(job.columns, kColumnStep);
  wide_.Reserve(static_cast<size_t>(kDotRows * stride) * sizeof(float));
  auto* wide = wide_.as<float>();
  for (int64_t r = 0; r < job.rows; ++r) {
    float* row = wide + r * stride;
    if (multiply_ == DType::kBF16) {
      kernels_.widen_bf16(static_cast<const uint16_t*>(job.x) + r * job.columns, job.columns, row);
    } else {
      std::memcpy(row, static_cast<const float*>(job.x) + r * job.columns,
                  static_cast<size_t>(job.columns) * sizeof(float));
    }
    std::fill(row + job.columns, row + stride, 0.0f);
  }
  const BF16Rows x = multiply_ == DType::kBF16 ? Narrow(job, stride) : BF16Rows{};
  // A worker takes panels in runs: neighbours lie one after the other in memory.
  const auto panels = static_cast<int64_t>(job.panels.size());
  int64_t bytes = 0;
  for (const Panel& panel : job.panels) {
    for (const PanelSource& source : panel.sources) {
      if (source.count > 0) bytes += source.count * static_cast<int64_t>(source.weight->row_bytes);
    }
  }
  const int64_t items =
      std::clamp(bytes / (kItemBytes * pool_.size()), kLeastItemsPerWorker, kItemsPerWorker);
  const int64_t run = (panels - 1) / (items * pool_.size()) + 1;
  const auto task = [&](int64_t item, int worker) {
    auto* products = workers_[worker].products.as<float>();
    for (int64_t p = item * run; p < std::min(panels, (item + 1) * run); ++p) {
      const Panel& panel = job.panels[p];
      for (int i = 0; i < 2; ++i) {
        const PanelSource& source = panel.sources[i];
        if (source.count == 0) continue;
        const RowPointers pointers(source);
        const auto type = static_cast<int>(source.weight->type);
        const auto rows = static_cast<int>(job.rows);
        float* y = products + panel.offset(i);
        if (x.values != nullptr && kernels_.dot_bf16[type] != nullptr) {
          kernels_.dot_bf16[type](pointers.rows, source.count, job.columns, x, rows, y,
                                  panel.features());
        } else {
          kernels_.dot[type](pointers.rows, source.count, job.columns, wide, stride, rows, y,
                             panel.features());
        }
      }
      job.epilogue({p, 0, job.rows, products, panel.features()});
    }
  };
  pool_.ParallelFor((panels - 1) / run + 1, std::ref(task));
}

/// x in bf16 with the sums of each step, from the f32 rows in wide_.
BF16Rows Linear::Narrow(const Job& job, int64_t stride) {
  const int64_t steps = stride / kColumnStep;
  narrow_.Reserve(static_cast<size_t>(kDotRows * stride) * sizeof(uint16_t));
  sums_.Reserve(static_cast<size_t>(kDotRows * steps) * sizeof(float));
  auto* narrow = narrow_.as<uint16_t>();
  auto* sums = sums_.as<float>();
  for (int64_t r = 0; r < job.rows; ++r) {
    std::memcpy(narrow + r * stride, static_cast<const uint16_t*>(job.x) + r * job.columns,
                static_cast<size_t>(job.columns) * sizeof(uint16_t));
    std::fill(narrow + r * stride + job.columns, narrow + (r + 1) * stride, uint16_t{0});
    const float* wide = wide_.as<float>() + r * stride;
    for (int64_t s = 0; s < steps; ++s) {
      sums[r * steps + s] =
          std::accumulate(wide + s * kColumnStep, wide + (s + 1) * kColumnStep, 0.0f);
    }
  }
  return {narrow, stride, sums};
}

void Linear::RunExpanded(const Job& job) {
  // Rows are split only as far as idle workers ask for: each part expands the panel again.
  const auto panels = static_cast<int64_t>(job.panels.size());
  const int64_t blocks = (job.rows + kRowBlock - 1) / kRowBlock;
  const int64_t wanted = (kItemsPerWorker * pool_.size() + panels - 1) / panels;
  const int64_t parts = std::clamp<int64_t>(wanted, 1, blocks);
  const int64_t part_rows = (blocks + parts - 1) / parts * kRowBlock;
  const int64_t last_rows = RoundUp((job.rows - 1) % kRowBlock + 1, kRowStep);
  for (const Panel& panel : job.panels) {
    if (job.rows >= kRowBlock) gemm_.Prepare(kRowBlock, job.columns, panel.features());
    gemm_.Prepare(last_rows, job.columns, panel.features());
  }
  const auto task = [&](int64_t item, int worker) {
    const Panel& panel = job.panels[item / parts];
    const int64_t begin = item % parts * part_rows;
    const int64_t end = std::min(begin + part_rows, job.rows);
    if (begin >= end) return;
    Worker& own = workers_[worker];
    Expand(panel, own.panel.data());
    for (int64_t row = begin; row < end; row += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, end - row);
      const auto& product = gemm_.Find(RoundUp(rows, kRowStep), job.columns, panel.features());
      const auto* x = static_cast<const uint8_t*>(job.x) +
                      static_cast<size_t>(row * job.columns) * SizeOf(multiply_);
      gemm_.Run(product, x, own.panel.data(), own.products.as<float>(), worker);
      job.epilogue({item / parts, row, rows, own.products.as<float>(), panel.features()});
    }
  };
  pool_.ParallelFor(panels * parts, std::ref(task));
}

void Linear::Expand(const Panel& panel, void* target) const {
  for (int i = 0; i < 2; ++i) {
    const PanelSource& source = panel.sources[i];
    if (source.count == 0) continue;
    const RowPointers pointers(source);
    const int type = static_cast<int>(source.weight->type);
    const Kernels::Pack pack =
        multiply_ == DType::kBF16 ? kernels_.pack_bf16[type] : kernels_.pack_f32[type];
    pack(pointers.rows, source.count, panel.columns(), target, panel.features(), panel.offset(i));
  }
}

size_t Linear::scratch_bytes() const {
  size_t bytes = wide_.size() + narrow_.size() + sums_.size() + gemm_.scratch_bytes();
  for (const Worker& worker : workers_) bytes += worker.panel.size() + worker.products.size();
  return bytes;
}

}  // namespace tamis
