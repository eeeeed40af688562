#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinKernels kThinBf16D64 = MakeThinKernels<ptx::BF16, 64>();

}  // namespace tamis::cuda::sm90
