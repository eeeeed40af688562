#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinKernels kThinF16D128 = MakeThinKernels<ptx::F16, 128>();

}  // namespace tamis::cuda::sm90
