// tamis bench attention: dense against policies and block lists, on one layer's tensors.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/bench_device.h"
#include "cli/bench_inputs.h"
#include "cli/command.h"
#include "cli/contender.h"
#include "cli/flags.h"
#include "report/compare_report.h"
#include "report/progress.h"
#include "report/samples.h"
#include "report/table.h"
#include "report/units.h"

namespace tamis::cli {
namespace {

using Align = Column::Align;
using Json = nlohmann::ordered_json;

struct BenchAttentionOptions {
  std::string device = "cpu";
  std::string dtype;  ///< empty: f32 on the CPU, bf16 on a GPU
  int32_t q_heads = 32;
  int32_t kv_heads = 8;
  int32_t head_dim = 128;
  std::vector<int32_t> lengths = {4096};
  std::vector<std::string> policies;
  std::vector<double> densities;
  std::string phase = "prefill";
  std::string inputs = "structured";
  int repeats = 5;
  MachineFlags machine;
  JsonFlag json;
};

void DeclareBenchAttention(CLI::App& command, BenchAttentionOptions& options) {
  const auto shape = [&](const char* name, int32_t& value, const char* help, int32_t most) {
    command.add_option(name, value, help)
        ->type_name("N")
        ->check(CLI::Range(1, most))
        ->group("Call");
  };
  shape("--q-heads", options.q_heads, "Query heads", 1024);
  shape("--kv-heads", options.kv_heads, "KV heads; divides the query heads", 1024);
  shape("--head-dim", options.head_dim, "Dimensions of a head: a multiple of 8 up to 256", 256);
  command.add_option("--length", options.lengths, "Keys (and, in prefill, queries); several")
      ->type_name("N...")
      ->check(CLI::Range(1, 1 << 22))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Call");
  command
      .add_option("--dtype", options.dtype, "f32 (default on cpu), bf16 (default on cuda) or f16")
      ->type_name("NAME")
      ->group("Call");
  command.add_option("--phase", options.phase, "prefill, or decode (one query)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"prefill", "decode"}))
      ->group("Call");
  command
      .add_option("--inputs", options.inputs,
                  "structured (sinks, local band, stripes, needles) or gaussian")
      ->type_name("NAME")
      ->group("Call");
  command
      .add_option("--policy", options.policies,
                  "Preset[,key=value...], file or inline JSON, beside dense; several")
      ->type_name("SPEC...")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Against dense");
  command
      .add_option(
          "--density", options.densities,
          "Random block lists that visit this share of the pairs; several: --density .5 .25 .1")
      ->type_name("X...")
      ->check(CLI::Range(0.0, 1.0))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Against dense");
  command.add_option("--repeats", options.repeats, "Timed samples; the median counts")
      ->type_name("N")
      ->check(CLI::Range(1, 10000))
      ->group("Machine");
  command.add_option("--device", options.device, "cpu or cuda")
      ->type_name("NAME")
      ->group("Machine");
  options.machine.Declare(command);
  options.json.Declare(command);
  command.footer(
      R"(GFLOP/s counts 4 x head_dim operations for every (query, key) pair visited; the peak is a
loop of nothing but the instruction that the kernels use, measured in the same run.

Examples:
  tamis bench attention --length 4096 16384 --policy xattention streaming
  tamis bench attention --length 8192 --density 1 .5 .25 .1 --dtype bf16
  tamis bench attention --phase decode --length 32768
  tamis bench attention --device cuda --length 16384 65536 --density .25 .1)");
}

struct LengthResult {
  int32_t length = 0;
  std::vector<Contender> contenders;  ///< dense first
  std::vector<double> read_rates;     ///< of memory, bytes/s between the samples of decode
};

/// What the machine can do: the peak of prefill, in operations per second, or the memory's rate of
/// decode, in bytes per second.
double Limit(const LengthResult& result, const BenchShape& shape, double peak) {
  return shape.phase == Phase::kDecode ? Median(result.read_rates) : peak;
}

double Flops(const Contender& contender, int32_t head_dim) {
  return 4.0 * head_dim * static_cast<double>(contender.counts.visited_pairs);
}

/// Bytes of keys and values that one decode call reads: every visited key once per KV head.
double ReadBytes(const Contender& contender, const BenchShape& shape) {
  const double keys = static_cast<double>(contender.counts.visited_pairs) /
                      (static_cast<double>(shape.q_heads) / shape.kv_heads);
  return 2.0 * shape.head_dim * static_cast<double>(SizeOf(shape.dtype)) * keys;
}

LengthResult Measure(const BenchShape& shape, const BenchAttentionOptions& options,
                     const BenchRivals& rivals, BenchDevice& device, ThreadPool& pool) {
  const BenchTensors tensors(shape, ParseBenchInputs(options.inputs), pool);
  LengthResult result{shape.key_tokens, {}, {}};
  const auto samples = static_cast<double>(options.repeats) *
                       static_cast<double>(1 + rivals.policies.size() + rivals.densities.size());
  Progress progress(fmt::format("{} keys", FormatCount(shape.key_tokens)), samples);
  result.contenders = device.Contenders(tensors, rivals);
  double done = 0.0;
  TimeContenders(result.contenders, options.repeats, [&] {
    if (shape.phase == Phase::kDecode) result.read_rates.push_back(device.MemoryRate());
    progress.Update(++done);
  });
  return result;
}

std::string Text(const std::vector<LengthResult>& results, const BenchShape& shape, double peak,
                 const Terminal& terminal) {
  const bool decode = shape.phase == Phase::kDecode;
  Table table({{"keys"},
               {"attention", Align::kLeft},
               {"time"},
               {"±"},
               {decode ? "GB/s" : "GFLOP/s"},
               {decode ? "of memory" : "of peak"},
               {"density"},
               {"skipped"},
               {"time/dense"},
               {"select"}});
  for (const LengthResult& result : results) {
    if (&result != &results[0]) table.AddGap();
    const double dense = Median(result.contenders[0].seconds);
    for (const Contender& contender : result.contenders) {
      const double seconds = Median(contender.seconds);
      const double rate =
          (decode ? ReadBytes(contender, shape) : Flops(contender, shape.head_dim)) / seconds;
      const double limit = Limit(result, shape, peak);
      table.AddRow({FormatCount(result.length), contender.label, FormatSeconds(seconds),
                    FormatPercent(0.5 * Spread(contender.seconds)), FormatNumber(rate / 1e9),
                    FormatPercent(rate / limit), FormatPercent(contender.counts.density()),
                    FormatPercent(contender.counts.skipped_share()),
                    fmt::format("{:.3f}", seconds / dense), FormatPercent(contender.select_share)});
    }
  }
  return table.Render(terminal);
}

Json ResultJson(const std::vector<LengthResult>& results, const BenchShape& shape, double peak) {
  Json rows = Json::array();
  for (const LengthResult& result : results) {
    const double dense = Median(result.contenders[0].seconds);
    for (const Contender& contender : result.contenders) {
      const double seconds = Median(contender.seconds);
      const double flops = Flops(contender, shape.head_dim) / seconds;
      const double bytes = ReadBytes(contender, shape) / seconds;
      const double rate = shape.phase == Phase::kDecode ? bytes : flops;
      rows.push_back({{"policy", contender.label},
                      {"length", result.length},
                      {"milliseconds", 1e3 * seconds},
                      {"spread", Spread(contender.seconds)},
                      {"gflops", flops / 1e9},
                      {"peak_share", rate / Limit(result, shape, peak)},
                      {"gbytes_per_s", bytes / 1e9},
                      {"density", contender.counts.density()},
                      {"skipped_share", contender.counts.skipped_share()},
                      {"kept_share", KeptShare(contender.counts)},
                      {"ratio_to_dense", seconds / dense},
                      {"select_share", contender.select_share},
                      {"path", contender.path}});
    }
  }
  return rows;
}

/// Of each length, GB/s; empty for prefill.
Json ReadRatesJson(const std::vector<LengthResult>& results) {
  Json rates = Json::array();
  for (const LengthResult& result : results) {
    if (!result.read_rates.empty()) rates.push_back(Median(result.read_rates) / 1e9);
  }
  return rates;
}

std::string LimitText(const LengthResult& result, const BenchShape& shape, double peak,
                      const BenchDevice& device) {
  const std::string limit = FormatNumber(Limit(result, shape, peak) / 1e9);
  return shape.phase == Phase::kDecode
             ? fmt::format("memory {} {} GB/s (median between the samples)", device.MemoryUse(),
                           limit)
             : fmt::format("peak {} GFLOP/s", limit);
}

/// One a length.
std::vector<BenchShape> Shapes(const BenchAttentionOptions& options) {
  BenchShape shape;
  shape.q_heads = options.q_heads;
  shape.kv_heads = options.kv_heads;
  shape.head_dim = options.head_dim;
  const bool cuda = ParseDevice(options.device) == Device::kCuda;
  shape.dtype =
      options.dtype.empty() ? (cuda ? DType::kBF16 : DType::kF32) : ParseDType(options.dtype);
  shape.phase = options.phase == "decode" ? Phase::kDecode : Phase::kPrefill;
  Require(shape.q_heads % shape.kv_heads == 0,
          "--kv-heads {} does not divide --q-heads {}; every KV head serves as many query heads",
          shape.kv_heads, shape.q_heads);
  Require(shape.head_dim % 8 == 0, "--head-dim {} is no multiple of 8", shape.head_dim);
  std::vector<BenchShape> shapes;
  for (const int32_t length : options.lengths) {
    shape.key_tokens = length;
    shape.query_tokens = shape.phase == Phase::kDecode ? 1 : length;
    BenchTensors::CheckMemory(shape);
    shapes.push_back(shape);
  }
  return shapes;
}

int RunBenchAttention(const BenchAttentionOptions& options) {
  const std::optional<JsonSink> sink = options.json.Sink();
  const std::vector<BenchShape> shapes = Shapes(options);
  ParseBenchInputs(options.inputs);
  const BenchRivals rivals{ParsePolicies(options.policies), options.densities};
  ThreadPool pool(options.machine.threads);
  const std::unique_ptr<BenchDevice> device =
      MakeBenchDevice(ParseDevice(options.device), options.machine, pool);
  device->RequireSupported(rivals);
  const BenchShape& shape = shapes[0];
  double peak = 0.0;
  // Measured around the calls: a machine slows down and recovers.
  const auto measure_peak = [&] { peak = std::max(peak, device->PeakFlops(shape.dtype)); };
  measure_peak();
  std::vector<LengthResult> results;
  for (const BenchShape& each : shapes) {
    results.push_back(Measure(each, options, rivals, *device, pool));
    measure_peak();
  }
  if (!sink || !sink->to_stdout()) {
    Print(
        fmt::format("{}: {}\n"
                    "causal {}, {}/{} heads of {}, {}, {} inputs, {}, median of {}\n\n",
                    device->Summary(), LimitText(results[0], shape, peak, *device), options.phase,
                    shape.q_heads, shape.kv_heads, shape.head_dim, Name(shape.dtype),
                    options.inputs, results[0].contenders[0].path, options.repeats));
    Print(Text(results, shape, peak, Terminal::Of(STDOUT_FILENO)));
  }
  if (sink) {
    Json json = Document("bench attention");
    json.update(device->Json());
    json.update(Json{{"dtype", Name(shape.dtype)},
                     {"q_heads", shape.q_heads},
                     {"kv_heads", shape.kv_heads},
                     {"head_dim", shape.head_dim},
                     {"phase", options.phase},
                     {"inputs", options.inputs},
                     {"repeats", options.repeats},
                     {"peak_gflops", peak / 1e9},
                     {"read_gbytes_per_s", ReadRatesJson(results)},
                     {"rows", ResultJson(results, shape, peak)}});
    sink->Write(json);
  }
  return kOk;
}

}  // namespace

void RegisterBenchAttention(CLI::App& bench, Action& action) {
  AddCommand<BenchAttentionOptions>(bench, "attention", "Attention alone, on one layer's tensors",
                                    action, RunBenchAttention, DeclareBenchAttention);
}

}  // namespace tamis::cli
