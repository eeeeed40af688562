#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = SkipUnitTraits<GatherTraits<ptx::F16, 64, kThinsAny>>;
const Kernel kGatherThinSkipF16D64 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
