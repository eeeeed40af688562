#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinSkipKernels kThinSkipBf16D128 = MakeThinSkipKernels<ptx::BF16, 128>();

}  // namespace tamis::cuda::sm90
