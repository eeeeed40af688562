#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinKernels kThinF16D64 = MakeThinKernels<ptx::F16, 64>();

}  // namespace tamis::cuda::sm90
