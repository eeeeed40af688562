#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinSkipKernels kThinSkipF16D64 = MakeThinSkipKernels<ptx::F16, 64>();

}  // namespace tamis::cuda::sm90
