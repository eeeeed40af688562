#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseKernels kSparseBf16D64 = MakeSparseKernels<ptx::BF16, 64>();

}  // namespace tamis::cuda::sm90
