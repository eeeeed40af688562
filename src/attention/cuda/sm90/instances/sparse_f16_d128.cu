#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseKernels kSparseF16D128 = MakeSparseKernels<ptx::F16, 128>();

}  // namespace tamis::cuda::sm90
