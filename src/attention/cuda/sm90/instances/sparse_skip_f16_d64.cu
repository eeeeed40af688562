#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseSkipKernels kSparseSkipF16D64 = MakeSparseSkipKernels<ptx::F16, 64>();

}  // namespace tamis::cuda::sm90
