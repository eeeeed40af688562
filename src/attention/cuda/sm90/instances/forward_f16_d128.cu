#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = Traits<ptx::F16, 128, false>;
const Kernel kForwardF16D128 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
