#include <cuda_runtime_api.h>

#include "attention/cuda/device_buffer.cuh"
#include "attention/cuda/error.cuh"
#include "attention/cuda/peak.h"
#include "base/check.h"
#include "cli/bench_device.h"

namespace tamis::cli {
namespace {

using cuda::CheckCuda;
using cuda::DeviceBuffer;

DeviceBuffer Copy(const void* host, size_t bytes) {
  DeviceBuffer buffer(bytes);
  CheckCuda(cudaMemcpy(buffer.data(), host, bytes, cudaMemcpyHostToDevice), "copying to the GPU");
  return buffer;
}

/// Tensors of a host call, copied: O is the device's own.
struct DeviceTensors {
  explicit DeviceTensors(const AttentionArguments& host)
      : q(Copy(host.q.data, Bytes(host, host.q_heads, host.query_tokens))),
        k(Copy(host.k.data, Bytes(host, host.kv_heads, host.key_tokens))),
        v(Copy(host.v.data, Bytes(host, host.kv_heads, host.key_tokens))),
        o(Bytes(host, host.q_heads, host.query_tokens)),
        arguments(host) {
    arguments.q.data = q.data();
    arguments.k.data = k.data();
    arguments.v.data = v.data();
    arguments.o.data = o.data();
  }

  DeviceBuffer q, k, v, o;
  AttentionArguments arguments;

 private:
  static size_t Bytes(const AttentionArguments& a, int32_t heads, int32_t rows) {
    return SizeOf(a.dtype) * static_cast<size_t>(heads) * static_cast<size_t>(rows) *
           static_cast<size_t>(a.head_dim);
  }
};

/// Bitmap and counts of an index, copied.
struct DeviceIndex {
  explicit DeviceIndex(const TileIndex& host)
      : bitmap(Copy(host.bitmap, sizeof(uint32_t) * static_cast<size_t>(host.shape.rows() *
                                                                        host.shape.row_words()))),
        counts(Copy(host.counts, sizeof(int32_t) * static_cast<size_t>(host.shape.rows()))),
        view{.shape = host.shape,
             .bitmap = static_cast<const uint32_t*>(bitmap.data()),
             .counts = static_cast<const int32_t*>(counts.data())} {}

  DeviceBuffer bitmap, counts;
  TileIndex view;
};

/// A call on `tensors`; `index` may be null.
Contender DeviceContender(std::string label, const AttentionCounts& counts,
                          const std::shared_ptr<DeviceTensors>& tensors,
                          const std::shared_ptr<DeviceIndex>& index) {
  ExecutionContext context;
  context.device = Device::kCuda;
  const AttentionPlan plan = PlanAttention(
      tensors->arguments, index == nullptr ? nullptr : &index->view.shape, {}, context);
  const auto workspace = std::make_shared<DeviceBuffer>(plan.workspace_bytes);
  Contender contender;
  contender.label = std::move(label);
  contender.counts = counts;
  contender.path = plan.path;
  contender.call = [=] {
    RunAttention(plan, tensors->arguments, index == nullptr ? nullptr : &index->view, {},
                 workspace->data(), context);
  };
  contender.wait = [] { CheckCuda(cudaDeviceSynchronize(), "running attention"); };
  contender.call();
  contender.wait();
  return contender;
}

class CudaBenchDevice : public BenchDevice {
 public:
  std::string Summary() const override { return Name(); }
  nlohmann::ordered_json Json() const override { return {{"device", "cuda"}, {"gpu", Name()}}; }

  void RequireSupported(const BenchRivals& rivals) const override {
    Require(rivals.policies.empty(),
            "--device cuda runs dense attention and random blocks, not policy {} yet; leave "
            "--policy out or use cpu",
            rivals.policies.empty() ? "" : rivals.policies[0].label);
  }

  std::vector<Contender> Contenders(const BenchTensors& tensors,
                                    const BenchRivals& rivals) override {
    const AttentionArguments host = tensors.arguments();
    const auto copies = std::make_shared<DeviceTensors>(host);
    std::vector<Contender> contenders;
    contenders.push_back(DeviceContender("dense", DenseCounts(host), copies, nullptr));
    for (const double density : rivals.densities) {
      const RandomLists lists(density, host);
      contenders.push_back(DeviceContender(lists.label, lists.counts, copies,
                                           std::make_shared<DeviceIndex>(lists.index.view())));
    }
    return contenders;
  }

  double PeakFlops(DType dtype) override { return cuda::MeasurePeakFlops(dtype); }

  /// Of a copy far larger than the caches, reads and writes together.
  double MemoryRate() override {
    constexpr size_t kBytes = size_t{1} << 30;
    constexpr int kCopies = 8;
    const DeviceBuffer from(kBytes), to(kBytes);
    cudaEvent_t begin, end;
    CheckCuda(cudaEventCreate(&begin), "creating an event");
    CheckCuda(cudaEventCreate(&end), "creating an event");
    const auto copy = [&] {
      CheckCuda(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, nullptr),
                "copying on the GPU");
    };
    copy();
    CheckCuda(cudaEventRecord(begin, nullptr), "recording an event");
    for (int i = 0; i < kCopies; ++i) copy();
    CheckCuda(cudaEventRecord(end, nullptr), "recording an event");
    CheckCuda(cudaEventSynchronize(end), "copying on the GPU");
    float milliseconds = 0.0f;
    CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end), "reading events");
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return 2.0 * kBytes * kCopies / (milliseconds * 1e-3);
  }
  std::string_view MemoryUse() const override { return "copied"; }

 private:
  static std::string Name() {
    int device = 0;
    cudaDeviceProp properties;
    CheckCuda(cudaGetDevice(&device), "finding the CUDA device");
    CheckCuda(cudaGetDeviceProperties(&properties, device), "reading the device's properties");
    return properties.name;
  }
};

}  // namespace

std::unique_ptr<BenchDevice> MakeCudaBenchDevice() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  Require(error == cudaSuccess && devices > 0,
          "--device cuda: this machine has no CUDA device ({}); use cpu",
          cudaGetErrorString(error));
  return std::make_unique<CudaBenchDevice>();
}

}  // namespace tamis::cli
