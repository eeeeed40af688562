// Linear layers y = x W^T over weights as they are stored.
#ifndef TAMIS_MODEL_LINEAR_H_
#define TAMIS_MODEL_LINEAR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/checkpoint/checkpoint.h"
#include "model/cpu/kernels.h"
#include "model/panel_gemm.h"
#include "tamis/thread_pool.h"

namespace tamis {

/// Features [first, first + count) of a weight.
struct PanelSource {
  const Weight* weight = nullptr;
  int64_t first = 0;
  int64_t count = 0;
};

/// Features computed together, so that what follows the product (a head's rotation, SwiGLU of gate
/// and up) finds them side by side in cache. Source i begins at column offset(i).
struct Panel {
  static constexpr int64_t kMaxFeatures = 256;
  std::array<PanelSource, 2> sources;  // the second may be empty

  int64_t offset(int i) const { return i == 0 ? 0 : Padded(sources[0].count); }
  int64_t features() const { return Padded(sources[0].count) + Padded(sources[1].count); }
  int64_t columns() const { return sources[0].weight->columns; }

 private:
  static int64_t Padded(int64_t count) {
    return (count + kFeatureStep - 1) / kFeatureStep * kFeatureStep;
  }
};

/// All features of `weight` in panels of up to `features`.
std::vector<Panel> SplitWeight(const Weight& weight, int64_t features);

/// Rows [first_row, first_row + rows) of one panel's products. Overwritten by the next.
struct PanelResult {
  int64_t panel = 0;
  int64_t first_row = 0;
  int64_t rows = 0;
  float* values = nullptr;  ///< [rows][stride]
  int64_t stride = 0;
};

/// Runs linear layers on a ThreadPool. Many rows: each work item expands a panel of weights into
/// its worker's scratch and multiplies through oneDNN, in bf16 where dtype and CPU have it, else in
/// f32. Few rows: products with the weights as stored. One call at a time.
class Linear {
 public:
  /// dtype: f32 or bf16.
  Linear(ThreadPool& pool, DType dtype, CpuIsa isa);

  /// How x must be stored.
  StoreAs activations() const { return activations_; }
  /// Bytes of an x of `rows` rows: products read whole groups of kRowStep rows.
  size_t ActivationBytes(int64_t rows, int64_t columns) const;
  /// Whether `rows` rows run on the weights as stored (finer panels then balance better).
  static bool Direct(int64_t rows) { return rows <= kDotRows; }

  /// Multiplies x [rows][columns] with every panel (all of the same number of columns) and calls
  /// `epilogue` with each piece on the worker that computed it; pieces cover every (panel, row)
  /// once. Where `epilogue` holds no more than a reference (std::ref), few rows allocate nothing
  /// once warm.
  void Run(const void* x, int64_t rows, std::span<const Panel> panels,
           const std::function<void(const PanelResult&)>& epilogue);

  size_t scratch_bytes() const;

  static constexpr int64_t kRowStep = 16;

 private:
  struct Job;
  void RunDirect(const Job& job);
  BF16Rows Narrow(const Job& job, int64_t stride);
  void RunExpanded(const Job& job);
  void Expand(const Panel& panel, void* target) const;

  struct Worker {
    AlignedBuffer panel;
    AlignedBuffer products;
  };

  ThreadPool& pool_;
  const Kernels& kernels_;
  DType multiply_;  // bf16: bf16 dot products
  StoreAs activations_;
  PanelGemm gemm_;
  std::vector<Worker> workers_;
  // x for products with weights as stored, with zeros to whole steps: in f32, in bf16, and sums of
  // each step.
  AlignedBuffer wide_, narrow_, sums_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_LINEAR_H_
