#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseSkipKernels kSparseSkipBf16D128 = MakeSparseSkipKernels<ptx::BF16, 128>();

}  // namespace tamis::cuda::sm90
