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

/// A dense call on copies of host tensors.
struct DenseCall {
  explicit DenseCall(const AttentionArguments& host)
      : q(Copy(host.q.data, host, host.q_heads, host.query_tokens)),
        k(Copy(host.k.data, host, host.kv_heads, host.key_tokens)),
        v(Copy(host.v.data, host, host.kv_heads, host.key_tokens)),
        o(Bytes(host, host.q_heads, host.query_tokens)) {
    arguments = host;
    arguments.q.data = q->data();
    arguments.k.data = k->data();
    arguments.v.data = v->data();
    arguments.o.data = o.data();
    context.device = Device::kCuda;
    plan = PlanAttention(arguments, nullptr, {}, context);
    workspace = std::make_unique<DeviceBuffer>(plan.workspace_bytes);
  }
  void Run() const { RunAttention(plan, arguments, nullptr, {}, workspace->data(), context); }

  AttentionArguments arguments;
  ExecutionContext context;
  AttentionPlan plan;

 private:
  static size_t Bytes(const AttentionArguments& a, int32_t heads, int32_t rows) {
    return SizeOf(a.dtype) * static_cast<size_t>(heads) * static_cast<size_t>(rows) *
           static_cast<size_t>(a.head_dim);
  }
  static std::unique_ptr<DeviceBuffer> Copy(const void* data, const AttentionArguments& a,
                                            int32_t heads, int32_t rows) {
    const size_t bytes = Bytes(a, heads, rows);
    auto buffer = std::make_unique<DeviceBuffer>(bytes);
    CheckCuda(cudaMemcpy(buffer->data(), data, bytes, cudaMemcpyHostToDevice),
              "copying to the GPU");
    return buffer;
  }

  std::unique_ptr<DeviceBuffer> q, k, v;
  DeviceBuffer o;
  std::unique_ptr<DeviceBuffer> workspace;
};

void Wait() { CheckCuda(cudaDeviceSynchronize(), "running attention"); }

class CudaBenchDevice : public BenchDevice {
 public:
  std::string Summary() const override { return Name(); }
  nlohmann::ordered_json Json() const override { return {{"device", "cuda"}, {"gpu", Name()}}; }

  void RequireSupported(const BenchRivals& rivals) const override {
    Require(rivals.policies.empty(),
            "--device cuda runs dense attention only yet, not policy {}; leave --policy out or use "
            "cpu",
            rivals.policies.empty() ? "" : rivals.policies[0].label);
    Require(rivals.densities.empty(),
            "--device cuda runs dense attention only yet, not random blocks; leave --density out "
            "or use cpu");
  }

  std::vector<Contender> Contenders(const BenchTensors& tensors, const BenchRivals&) override {
    const auto call = std::make_shared<DenseCall>(tensors.arguments());
    Contender dense;
    dense.label = "dense";
    dense.call = [call] { call->Run(); };
    dense.wait = Wait;
    dense.counts = DenseCounts(call->arguments);
    dense.path = call->plan.path;
    dense.call();
    dense.wait();
    std::vector<Contender> contenders;
    contenders.push_back(std::move(dense));
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
