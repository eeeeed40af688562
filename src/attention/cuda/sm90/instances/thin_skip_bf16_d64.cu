#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

const ThinSkipKernels kThinSkipBf16D64 = MakeThinSkipKernels<ptx::BF16, 64>();

}  // namespace tamis::cuda::sm90
