#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinKernels kThinBf16D128 = MakeThinKernels<ptx::BF16, 128>();

}  // namespace tamis::cuda::sm90
