#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = Traits<ptx::F16, 64, true>;
const Kernel kGeneralF16D64 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
