#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = GatherTraits<ptx::BF16, 128>;
const Kernel kGatherBf16D128 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
