#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = ListTraits<ptx::F16, 64>;
const Kernel kListsF16D64 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
