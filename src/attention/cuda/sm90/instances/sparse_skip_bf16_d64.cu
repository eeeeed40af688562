#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

const SparseSkipKernels kSparseSkipBf16D64 = MakeSparseSkipKernels<ptx::BF16, 64>();

}  // namespace tamis::cuda::sm90
