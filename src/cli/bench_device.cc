#include "cli/bench_device.h"

#include <optional>

#include "attention/cpu/peak.h"
#include "base/check.h"
#include "cli/read_bandwidth.h"

namespace tamis::cli {
namespace {

class CpuBenchDevice : public BenchDevice {
 public:
  CpuBenchDevice(const MachineFlags& machine, ThreadPool& pool)
      : pool_(pool), context_(machine.Context(pool)) {}

  std::string Summary() const override { return MachineSummary(pool_.size()); }
  nlohmann::ordered_json Json() const override {
    return {{"device", "cpu"}, {"cpu", CpuModelName()}, {"threads", pool_.size()}};
  }
  void RequireSupported(const BenchRivals&) const override {}

  std::vector<Contender> Contenders(const BenchTensors& tensors,
                                    const BenchRivals& rivals) override {
    const AttentionArguments arguments = tensors.arguments();
    std::vector<Contender> contenders;
    contenders.push_back(PolicyContender({"dense", Policy::Dense()}, arguments, context_));
    for (const NamedPolicy& policy : rivals.policies) {
      contenders.push_back(PolicyContender(policy, arguments, context_));
    }
    for (const double density : rivals.densities) {
      contenders.push_back(BlockListContender(density, arguments, context_));
    }
    return contenders;
  }

  double PeakFlops(DType dtype) override {
    return MeasurePeakFlops(context_.isa.value_or(DetectCpuIsa()), dtype, pool_);
  }
  double MemoryRate() override {
    if (!memory_) memory_.emplace(pool_);
    return memory_->Sample();
  }
  std::string_view MemoryUse() const override { return "read"; }

 private:
  ThreadPool& pool_;
  ExecutionContext context_;
  std::optional<ReadBandwidth> memory_;
};

}  // namespace

#ifndef TAMIS_WITH_CUDA
std::unique_ptr<BenchDevice> MakeCudaBenchDevice() {
  Fail(
      "--device cuda: this build has no CUDA executor; build with -DTAMIS_CUDA=ON (the dev "
      "preset), "
      "or use cpu");
}
#endif

std::unique_ptr<BenchDevice> MakeBenchDevice(Device device, const MachineFlags& machine,
                                             ThreadPool& pool) {
  if (device == Device::kCuda) return MakeCudaBenchDevice();
  return std::make_unique<CpuBenchDevice>(machine, pool);
}

}  // namespace tamis::cli
