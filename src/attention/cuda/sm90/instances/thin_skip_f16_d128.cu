#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinSkipKernels kThinSkipF16D128 = MakeThinSkipKernels<ptx::F16, 128>();

}  // namespace tamis::cuda::sm90
