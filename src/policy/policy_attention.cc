// Running attention layers under a policy: resolve, select, plan, run, count.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "policy/resolver.h"
#include "policy/slice.h"
#include "tamis/policy.h"

namespace tamis {
namespace {

using policy::HeadRange;

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Decode asks for a little more with every token: growing by half keeps allocation rare.
template <typename T>
T* Reserve(AlignedBuffer& buffer, int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(T);
  if (bytes > buffer.size()) buffer.Reserve(std::max(bytes, buffer.size() / 2 * 3));
  return buffer.as<T>();
}

}  // namespace

struct PolicyAttention::State {
  State(const Policy& policy, const PolicyTarget& target, const ExecutionContext& context,
        const PolicyAttentionOptions& options)
      : resolver(policy, target, context.device), context(context), options(options) {
    ResetStatistics();
  }

  void ResetStatistics() {
    statistics.prefill.assign(resolver.layers(), {});
    statistics.decode.assign(resolver.layers(), {});
  }

  void CheckCall(int32_t layer, const AttentionArguments& arguments) const;
  const std::vector<HeadRange>& Ranges(int32_t layer, Phase phase, int64_t keys);
  // The sequences [first, last) share a phase and a length class.
  void AttendRun(int32_t layer, const AttentionArguments& call, int32_t first, int32_t last);
  void AttendRange(const AttentionArguments& part, const HeadRange& range, PhaseStatistics& out);
  // `part` has run and left its LSE; runs it again dense and compares.
  void MeasureRetainedMass(const AttentionArguments& part, AttentionArguments dense,
                           const HeadRange& range, PhaseStatistics& out);
  void Run(const AttentionArguments& part, const TileIndex* index, const TileRule& rule);
  void NotePath(const std::string& path);

  policy::Resolver resolver;
  ExecutionContext context;
  PolicyAttentionOptions options;
  PolicyStatistics statistics;
  std::vector<std::string> paths;

  // Calls by what their heads run; layers and lengths that resolve alike share one.
  std::map<std::pair<Phase, std::vector<int32_t>>, std::vector<HeadRange>> partitions;
  // (layer, phase, length class) to its entry of `partitions`.
  std::unordered_map<uint64_t, const std::vector<HeadRange>*> resolved;

  AlignedBuffer workspace;  // of the selector, then of the executor
  AlignedBuffer bitmap, index_counts;
  AlignedBuffer lambda, counts;
  // measure_retained_mass only: of the whole call, rows as Q's.
  AlignedBuffer sparse_lse, dense_lse, dense_output;
};

void PolicyAttention::State::CheckCall(int32_t layer, const AttentionArguments& a) const {
  const PolicyTarget& target = resolver.target();
  Require(0 <= layer && layer < resolver.layers(),
          "attention layer {} does not exist; the model has layers 0 to {}", layer,
          resolver.layers() - 1);
  Require(
      a.q_heads == target.q_heads && a.kv_heads == target.kv_heads && a.head_dim == target.head_dim,
      "attention call with {} query heads, {} KV heads, head_dim {}; the policy was resolved "
      "for {}, {}, {}",
      a.q_heads, a.kv_heads, a.head_dim, target.q_heads, target.kv_heads, target.head_dim);
  Require(a.lse == nullptr && a.counts == nullptr && a.executed == nullptr,
          "attention call with lse, counts or executed set; a policy's calls keep their own");
  Require(a.batch >= 0, "attention call with batch {}; give 0 or more", a.batch);
}

const std::vector<HeadRange>& PolicyAttention::State::Ranges(int32_t layer, Phase phase,
                                                             int64_t keys) {
  const uint64_t key = (static_cast<uint64_t>(layer) << 33) |
                       (static_cast<uint64_t>(resolver.LengthClass(keys)) << 1) |
                       static_cast<uint64_t>(phase);
  const auto known = resolved.find(key);
  if (known != resolved.end()) return *known->second;
  std::vector<int32_t> heads = resolver.Heads(layer, phase, keys);
  auto partition = partitions.find({phase, heads});
  if (partition == partitions.end()) {
    std::vector<HeadRange> ranges = resolver.Partition(heads, phase);
    partition = partitions.emplace(std::pair(phase, std::move(heads)), std::move(ranges)).first;
  }
  return *resolved.emplace(key, &partition->second).first->second;
}

void PolicyAttention::State::NotePath(const std::string& path) {
  if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
}

void PolicyAttention::State::Run(const AttentionArguments& part, const TileIndex* index,
                                 const TileRule& rule) {
  const AttentionPlan plan =
      PlanAttention(part, index == nullptr ? nullptr : &index->shape, rule, context);
  RunAttention(plan, part, index, rule,
               Reserve<char>(workspace, static_cast<int64_t>(plan.workspace_bytes)), context);
  NotePath(plan.path);
}

void PolicyAttention::State::AttendRange(const AttentionArguments& part, const HeadRange& range,
                                         PhaseStatistics& out) {
  const policy::PhaseSpec& spec = *range.spec;
  TileIndex index;
  if (range.selector != nullptr) {
    const Stopwatch watch;
    TileIndexBuffer buffer;
    buffer.shape = range.selector->Shape(part);
    buffer.bitmap = Reserve<uint32_t>(bitmap, buffer.shape.rows() * buffer.shape.row_words());
    buffer.counts = Reserve<int32_t>(index_counts, buffer.shape.rows());
    const auto bytes = static_cast<int64_t>(range.selector->WorkspaceBytes(part, context));
    range.selector->Select(part, buffer, Reserve<char>(workspace, bytes), context);
    index = {.shape = buffer.shape, .bitmap = buffer.bitmap, .counts = buffer.counts};
    out.select_seconds += watch.Seconds();
  }

  const Stopwatch watch;
  TileRule rule;
  if (spec.skip_softmax && !spec.skip_softmax->IsOff()) {
    auto* values = Reserve<float>(lambda, part.batch);
    for (int32_t b = 0; b < part.batch; ++b) {
      values[b] = static_cast<float>(spec.skip_softmax->Lambda(policy::SequenceKeys(part, b)));
    }
    rule.skip_softmax = {.lambda = values, .geometry = spec.skip_softmax->geometry};
  }
  if (spec.n_of_m) {
    rule.n_of_m = {.n = spec.n_of_m->n,
                   .m = spec.n_of_m->m,
                   .sink_tokens = spec.n_of_m->sink_tokens,
                   .recent_tokens = spec.n_of_m->recent_tokens,
                   .skip_diagonal_blocks = spec.n_of_m->skip_diagonal_blocks,
                   .in_decode = part.phase == Phase::kDecode};
  }
  AttentionArguments counted = part;
  const int64_t count = int64_t{part.batch} * part.q_heads;
  if (options.collect_counts) counted.counts = Reserve<AttentionCounts>(counts, count);
  Run(counted, range.selector == nullptr ? nullptr : &index, rule);
  for (int64_t i = 0; options.collect_counts && i < count; ++i) out.counts += counted.counts[i];
  out.attend_seconds += watch.Seconds();
}

void PolicyAttention::State::MeasureRetainedMass(const AttentionArguments& part,
                                                 AttentionArguments dense, const HeadRange& range,
                                                 PhaseStatistics& out) {
  const bool sparse = !range.spec->IsDense();
  if (sparse) Run(dense, nullptr, TileRule{});
  for (int32_t b = 0; b < part.batch; ++b) {
    const int64_t rows = policy::SequenceQueries(part, b);
    const int64_t base = part.query_offsets != nullptr ? part.query_offsets[b] * part.lse_stride.row
                                                       : b * part.lse_stride.batch;
    out.retained_rows += rows * part.q_heads;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t h = 0; h < part.q_heads; ++h) {
        const int64_t at = base + i * part.lse_stride.row + h * part.lse_stride.head;
        // A row that sees no key has nothing to lose.
        const bool whole = !sparse || std::isinf(dense.lse[at]);
        out.retained_mass_sum +=
            whole ? 1.0 : std::min(1.0, std::exp(double{part.lse[at]} - double{dense.lse[at]}));
      }
    }
  }
}

void PolicyAttention::State::AttendRun(int32_t layer, const AttentionArguments& call, int32_t first,
                                       int32_t last) {
  const Phase phase = call.phases != nullptr ? call.phases[first] : call.phase;
  PhaseStatistics& out = (phase == Phase::kPrefill ? statistics.prefill : statistics.decode)[layer];

  AttentionArguments sparse = call, dense = call;
  if (options.measure_retained_mass) {
    const int64_t rows = call.query_offsets != nullptr ? call.query_offsets[call.batch]
                                                       : int64_t{call.batch} * call.query_tokens;
    const int64_t dim = call.dim_v();
    const auto packed = [&](int64_t width) {
      return Strides{call.query_tokens * call.q_heads * width, call.q_heads * width, width};
    };
    sparse.lse = Reserve<float>(sparse_lse, rows * call.q_heads);
    dense.lse = Reserve<float>(dense_lse, rows * call.q_heads);
    sparse.lse_stride = dense.lse_stride = packed(1);
    dense.o = {Reserve<char>(dense_output,
                             rows * call.q_heads * dim * static_cast<int64_t>(SizeOf(call.dtype))),
               packed(dim)};
  }

  for (const HeadRange& range : Ranges(layer, phase, policy::SequenceKeys(call, first))) {
    const auto part = [&](const AttentionArguments& whole) {
      AttentionArguments slice = policy::Slice(whole, first, last, range.begin, range.end);
      slice.phases = nullptr;
      slice.phase = phase;
      return slice;
    };
    const AttentionArguments slice = part(sparse);
    if (slice.query_tokens == 0) continue;
    AttendRange(slice, range, out);
    if (options.measure_retained_mass) MeasureRetainedMass(slice, part(dense), range, out);
  }
}

PolicyAttention::PolicyAttention(const Policy& policy, const PolicyTarget& target,
                                 const ExecutionContext& context,
                                 const PolicyAttentionOptions& options)
    : state_(std::make_unique<State>(policy, target, context, options)) {}

PolicyAttention::~PolicyAttention() = default;
PolicyAttention::PolicyAttention(PolicyAttention&&) noexcept = default;

void PolicyAttention::Attend(int32_t layer, const AttentionArguments& arguments) {
  State& state = *state_;
  state.CheckCall(layer, arguments);
  const auto kind = [&](int32_t b) {
    return std::pair(arguments.phases != nullptr ? arguments.phases[b] : arguments.phase,
                     state.resolver.LengthClass(policy::SequenceKeys(arguments, b)));
  };
  // Runs of sequences that resolve alike, so that a sequence's result never depends on the others
  // of its batch and every second is charged to one phase.
  for (int32_t first = 0; first < arguments.batch;) {
    int32_t last = first + 1;
    while (last < arguments.batch && kind(last) == kind(first)) ++last;
    state.AttendRun(layer, arguments, first, last);
    first = last;
  }
}

const PolicyStatistics& PolicyAttention::statistics() const { return state_->statistics; }

void PolicyAttention::ResetStatistics() { state_->ResetStatistics(); }

size_t PolicyAttention::workspace_bytes() const {
  size_t bytes = 0;
  for (const AlignedBuffer* buffer :
       {&state_->workspace, &state_->bitmap, &state_->index_counts, &state_->lambda,
        &state_->counts, &state_->sparse_lse, &state_->dense_lse, &state_->dense_output}) {
    bytes += buffer->size();
  }
  return bytes;
}

std::string PolicyAttention::path() const {
  return fmt::format("{}", fmt::join(state_->paths, ", "));
}

}  // namespace tamis
