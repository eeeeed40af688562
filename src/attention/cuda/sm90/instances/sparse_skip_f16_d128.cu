#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseSkipKernels kSparseSkipF16D128 = MakeSparseSkipKernels<ptx::F16, 128>();

}  // namespace tamis::cuda::sm90
