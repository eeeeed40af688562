#include "attention/cuda/sm90/forward.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"

namespace tamis::cuda::sm90 {

using Shape = SkipTraits<Traits<ptx::F16, 64, false>>;
const Kernel kSkipF16D64 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
