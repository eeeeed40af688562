#include "attention/cuda/sm90/forward.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
constexpr Kernel Shape() {
  return {Traits::kTileRows, Traits::kTileKeys, LaunchForward<Traits>};
}

const ThinKernels kThinBf16D64 = {
    {Shape<Traits<ptx::BF16, 64, false, 4>>(), Shape<Traits<ptx::BF16, 64, false, 8>>()},
    {Shape<ListTraits<ptx::BF16, 64, 4>>(), Shape<ListTraits<ptx::BF16, 64, 8>>()},
};

}  // namespace tamis::cuda::sm90
