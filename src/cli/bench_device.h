// Where bench attention runs: how calls are made there and what they are held to.
#ifndef TAMIS_CLI_BENCH_DEVICE_H_
#define TAMIS_CLI_BENCH_DEVICE_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench_inputs.h"
#include "cli/contender.h"
#include "cli/flags.h"

namespace tamis::cli {

/// What is timed beside dense attention.
struct BenchRivals {
  std::vector<NamedPolicy> policies;
  std::vector<double> densities;  ///< of random block lists
};

class BenchDevice {
 public:
  virtual ~BenchDevice() = default;
  /// The machine, for people.
  virtual std::string Summary() const = 0;
  /// The fields that name it.
  virtual nlohmann::ordered_json Json() const = 0;
  /// Throws Error naming a rival that the device does not run.
  virtual void RequireSupported(const BenchRivals& rivals) const = 0;
  /// Dense first. Tensors must outlive what it returns.
  virtual std::vector<Contender> Contenders(const BenchTensors& tensors,
                                            const BenchRivals& rivals) = 0;
  /// Operations per second of a loop of nothing but the instruction that prefill uses, now.
  virtual double PeakFlops(DType dtype) = 0;
  /// Bytes per second that decode may hope for, now.
  virtual double MemoryRate() = 0;
  /// What MemoryRate does with memory: "read" or "copied".
  virtual std::string_view MemoryUse() const = 0;
};

/// Throws Error where this build or this machine lacks the device. `pool` also makes the inputs.
std::unique_ptr<BenchDevice> MakeBenchDevice(Device device, const MachineFlags& machine,
                                             ThreadPool& pool);
std::unique_ptr<BenchDevice> MakeCudaBenchDevice();

}  // namespace tamis::cli

#endif  // TAMIS_CLI_BENCH_DEVICE_H_
