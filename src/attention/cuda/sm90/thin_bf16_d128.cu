#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
constexpr Kernel Shape() {
  return {Traits::kTileRows, Traits::kTileKeys, LaunchForward<Traits>};
}

const ThinKernels kThinBf16D128 = {
    {Shape<Traits<ptx::BF16, 128, false, 4>>(), Shape<Traits<ptx::BF16, 128, false, 8>>()},
    {Shape<ListTraits<ptx::BF16, 128, 4>>(), Shape<ListTraits<ptx::BF16, 128, 8>>()},
};

}  // namespace tamis::cuda::sm90
