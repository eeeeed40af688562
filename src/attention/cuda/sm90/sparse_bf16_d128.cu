#include "attention/cuda/sm90/sparse_forward.cuh"

namespace tamis::cuda::sm90 {

template <Keep kKeep, bool kTokens>
constexpr Kernel Shape() {
  using Traits = SparseTraits<ptx::BF16, 128, kKeep, kTokens>;
  return {Traits::kTileRows, Traits::kTileKeys, LaunchSparse<Traits>};
}

template <Keep kKeep>
constexpr Kernel ListShape() {
  using Traits = SparseListTraits<ptx::BF16, 128, kKeep>;
  return {Traits::kTileRows, Traits::kTileKeys, LaunchSparse<Traits>};
}

const SparseKernels kSparseBf16D128 = {
    {Shape<Keep::kTwoOfFour, false>(), Shape<Keep::kOneOfTwo, false>(),
     Shape<Keep::kOneOfFour, false>()},
    {Shape<Keep::kTwoOfFour, true>(), Shape<Keep::kOneOfTwo, true>(),
     Shape<Keep::kOneOfFour, true>()},
    {ListShape<Keep::kTwoOfFour>(), ListShape<Keep::kOneOfTwo>(), ListShape<Keep::kOneOfFour>()},
};

}  // namespace tamis::cuda::sm90
