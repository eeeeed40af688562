#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseKernels kSparseBf16D128 = MakeSparseKernels<ptx::BF16, 128>();

}  // namespace tamis::cuda::sm90
