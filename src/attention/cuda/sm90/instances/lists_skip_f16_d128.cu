#include "attention/cuda/sm90/forward.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"

namespace tamis::cuda::sm90 {

using Shape = SkipTraits<ListTraits<ptx::F16, 128>>;
const Kernel kListsSkipF16D128 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
