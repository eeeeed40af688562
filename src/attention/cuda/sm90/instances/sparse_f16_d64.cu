#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseKernels kSparseF16D64 = MakeSparseKernels<ptx::F16, 64>();

}  // namespace tamis::cuda::sm90
