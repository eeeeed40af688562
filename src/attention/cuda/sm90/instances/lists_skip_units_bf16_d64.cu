#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

using Shape = SkipUnitTraits<ListTraits<ptx::BF16, 64>>;
const Kernel kListsSkipUnitsBf16D64 = {Shape::kTileRows, Shape::kTileKeys, LaunchForward<Shape>};

}  // namespace tamis::cuda::sm90
