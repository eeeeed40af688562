// Matrix products of activations with a panel of expanded weights, through oneDNN.
#ifndef TAMIS_MODEL_PANEL_GEMM_H_
#define TAMIS_MODEL_PANEL_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tamis/dtype.h"

namespace tamis {

/// Keeps oneDNN on the calling thread while it lives: the ThreadPool is the only owner of the
/// cores, and each of its workers multiplies on its own.
class SingleThreadedOneDnn {
 public:
  SingleThreadedOneDnn();
  ~SingleThreadedOneDnn();
  SingleThreadedOneDnn(const SingleThreadedOneDnn&) = delete;
  SingleThreadedOneDnn& operator=(const SingleThreadedOneDnn&) = delete;

 private:
  int before_;
};

/// C [rows][features] = A [rows][columns] times a panel, f32 accumulation. A and the panel are f32
/// or bf16, the panel laid out as Kernels::pack_f32 / pack_bf16 leave it. oneDNN prefers these
/// layouts and a packed C: nothing is copied on the way (2.6.3 runs its reference, a thousand
/// times slower, where C has a longer stride).
class PanelGemm {
 public:
  struct Product;  // one compiled shape

  PanelGemm(DType dtype, int workers);
  ~PanelGemm();

  /// Compiles the product of a shape unless it has been: that takes a quarter of a millisecond.
  /// Not thread-safe; Find and Run are, for different workers.
  void Prepare(int64_t rows, int64_t columns, int64_t features);
  /// A prepared product.
  const Product& Find(int64_t rows, int64_t columns, int64_t features) const;
  void Run(const Product& product, const void* a, const void* panel, float* c, int worker) const;
  size_t scratch_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_PANEL_GEMM_H_
