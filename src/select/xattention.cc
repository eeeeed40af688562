#include "select/xattention.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "attention/sequence_view.h"
#include "base/check.h"
#include "select/selector_call.h"
#include "select/visibility.h"

namespace tamis {
namespace {

CpuIsa IsaOf(const ExecutionContext& context) {
  const CpuIsa best = DetectCpuIsa();
  const CpuIsa isa = context.isa.value_or(best);
  Require(isa <= best, "xattention: this machine does not run {}; use {} or lower", Name(isa),
          Name(best));
  return isa;
}

int Workers(const ExecutionContext& context) {
  Require(context.pool != nullptr, "xattention needs a thread pool; set ExecutionContext::pool");
  return context.pool->size();
}

class XAttentionSelector : public Selector {
 public:
  explicit XAttentionSelector(XAttentionParameters parameters)
      : parameters_(std::move(parameters)) {}

  TileIndexShape Shape(const AttentionArguments& maxima) const override {
    CheckCoverage(maxima);
    return PerHeadShape(maxima, kXAttentionBlock, kXAttentionBlock);
  }

  size_t WorkspaceBytes(const AttentionArguments& maxima,
                        const ExecutionContext& context) const override {
    CheckCoverage(maxima);
    return EstimateBytes(maxima, context) + size_t(Workers(context)) * ScratchBytes(maxima);
  }

  void Select(const AttentionArguments& arguments, const TileIndexBuffer& index, void* workspace,
              const ExecutionContext& context) const override {
    CheckCall("xattention", arguments, Shape(arguments), index, context);
    ClearIndex(index);
    const size_t scratch_bytes = ScratchBytes(arguments);
    auto* scratch = static_cast<unsigned char*>(workspace) + EstimateBytes(arguments, context);
    const auto visit = [&](int32_t b, int32_t head, int32_t block, std::span<const float> mass,
                           int worker) {
      const int64_t row = index.shape.Row(b, head, block);
      int32_t recent_begin = 0;
      int32_t recent_end = 0;
      if (parameters_.keep_recent || arguments.mask.causality != Causality::kBidirectional) {
        RecentBlocks(SequenceView(arguments, b), block, recent_begin, recent_end);
      }
      const auto& threshold = parameters_.threshold;
      TakeXAttentionBlocks(mass, threshold[threshold.size() == 1 ? 0 : head], parameters_.keep_sink,
                           recent_begin, recent_end,
                           reinterpret_cast<uint64_t*>(scratch + worker * scratch_bytes),
                           index.bitmap + row * index.shape.row_words());
      CountBlocks(index, row);
    };
    EstimateXAttention(arguments, parameters_.stride, workspace, *context.pool,
                       XAttentionKernelFor(IsaOf(context), arguments.dtype, arguments.kv_dtype),
                       visit);
  }

 private:
  void CheckCoverage(const AttentionArguments& arguments) const {
    CheckXAttentionCoverage(arguments);
    const auto heads = static_cast<int32_t>(parameters_.threshold.size());
    Require(heads == 1 || heads == arguments.q_heads,
            "xattention parameter threshold has {} values; give 1 or one for each of the {} query "
            "heads",
            heads, arguments.q_heads);
  }

  size_t EstimateBytes(const AttentionArguments& maxima, const ExecutionContext& context) const {
    return XAttentionWorkspaceBytes(
        maxima, parameters_.stride, Workers(context),
        XAttentionKernelFor(IsaOf(context), maxima.dtype, maxima.kv_dtype));
  }

  /// One worker's memory for TakeXAttentionBlocks, in whole cache lines.
  static size_t ScratchBytes(const AttentionArguments& maxima) {
    const size_t blocks = (size_t(maxima.key_tokens) + kXAttentionBlock - 1) / kXAttentionBlock;
    return (blocks * sizeof(uint64_t) + 63) / 64 * 64;
  }

  /// Key blocks that hold positions of the queries of `query_block`.
  static void RecentBlocks(const SequenceView& sequence, int32_t query_block, int32_t& begin,
                           int32_t& end) {
    const int32_t first = query_block * kXAttentionBlock;
    const int32_t last = std::min(first + kXAttentionBlock, sequence.queries()) - 1;
    const int64_t from = std::max<int64_t>(sequence.QueryPosition(first), 0);
    const int64_t to = std::min<int64_t>(sequence.QueryPosition(last), sequence.keys() - 1);
    if (from > to) return;
    begin = static_cast<int32_t>(from / kXAttentionBlock);
    end = static_cast<int32_t>(to / kXAttentionBlock) + 1;
  }

  XAttentionParameters parameters_;
};

}  // namespace

const XAttentionKernel& XAttentionKernelFor(CpuIsa isa, [[maybe_unused]] DType q,
                                            [[maybe_unused]] DType k) {
#if defined(__x86_64__)
  switch (isa) {
    case CpuIsa::kAvx512Bf16:
      if (q == DType::kBF16 && k == DType::kBF16) return kXAttentionAvx512Bf16;
      return kXAttentionAvx512;
    case CpuIsa::kAmxBf16:
      // The processors that have tiles run two fp32 multiply-adds in the time of a bf16 product.
    case CpuIsa::kAvx512:
      return kXAttentionAvx512;
    case CpuIsa::kAvx2:
      return kXAttentionAvx2;
    case CpuIsa::kPortable:
      break;
  }
#endif
  return kXAttentionPortable;
}

void CheckXAttentionCoverage(const AttentionArguments& arguments) {
  const AttentionMask& mask = arguments.mask;
  const auto refuse = [](bool unsupported, std::string_view what, std::string_view fix) {
    Require(!unsupported, "xattention does not cover {}; {}", what, fix);
  };
  refuse(arguments.key_positions != nullptr, "a cache that has dropped keys (key_positions)",
         "use streaming or dense there");
  refuse(mask.window_left >= 0 || mask.window_right >= 0,
         fmt::format("window masks (window_left {}, window_right {})", mask.window_left,
                     mask.window_right),
         "use streaming or dense on windowed layers");
  refuse(mask.keep != nullptr, "boolean masks (mask.keep)", "use dense or a block mask");
  refuse(arguments.bias.data != nullptr, "additive bias (bias.data)", "use dense");
  refuse(arguments.softcap > 0.0f, fmt::format("softcap ({})", arguments.softcap), "use dense");
  refuse(arguments.sink_logits != nullptr, "sink logits in the denominator (sink_logits)",
         "use dense");
  Require(arguments.q_heads > 0 && arguments.kv_heads > 0 &&
              arguments.q_heads % arguments.kv_heads == 0,
          "xattention: {} query heads on {} KV heads; the first must be a multiple of the second",
          arguments.q_heads, arguments.kv_heads);
  Require(arguments.head_dim > 0 && arguments.head_dim % 8 == 0 && arguments.head_dim <= 256,
          "xattention: head_dim is {}; use a multiple of 8 up to 256", arguments.head_dim);
  Require(arguments.batch >= 0 && arguments.query_tokens >= 0 && arguments.key_tokens >= 0,
          "xattention: batch {}, query_tokens {}, key_tokens {}; none may be negative",
          arguments.batch, arguments.query_tokens, arguments.key_tokens);
  Require(mask.causality != Causality::kBlockCausal || mask.causal_block >= 1,
          "xattention: mask.causal_block is {}; use 1 or more", mask.causal_block);
}

void TakeXAttentionBlocks(std::span<const float> mass, double threshold, bool keep_sink,
                          int32_t recent_begin, int32_t recent_end, uint64_t* scratch,
                          uint32_t* bits) {
  const auto blocks = static_cast<int32_t>(mass.size());
  const auto take = [bits](int32_t block) { bits[block / 32] |= 1u << (block % 32); };
  double total = 0.0;
  double taken = 0.0;
  int32_t candidates = 0;
  for (int32_t j = 0; j < blocks; ++j) {
    total += mass[j];
    if ((keep_sink && j == 0) || (j >= recent_begin && j < recent_end)) {
      take(j);
      taken += mass[j];
    } else if (mass[j] > 0.0f) {
      // Bits of positive floats order as the floats do; the complement puts low blocks first.
      scratch[candidates++] = uint64_t{std::bit_cast<uint32_t>(mass[j])} << 32 |
                              (0xffffffffu - static_cast<uint32_t>(j));
    }
  }
  if (!std::isfinite(total)) {
    for (int32_t j = 0; j < blocks; ++j) take(j);
    return;
  }
  // Sums of masses round, so "all" must not depend on them.
  const double required = threshold >= 1.0 ? HUGE_VAL : threshold * total;
  std::make_heap(scratch, scratch + candidates);
  while (taken < required && candidates > 0) {
    std::pop_heap(scratch, scratch + candidates);
    const auto block =
        static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(scratch[--candidates]));
    take(block);
    taken += mass[block];
  }
}

SelectorInfo XAttentionInfo() {
  return {
      .name = "xattention",
      .paper =
          "XAttention: Block Sparse Attention with Antidiagonal Scoring, ICML 2025, arXiv "
          "2503.16428",
      .help =
          "Scores tiles by sums along antidiagonals and keeps the fewest that hold a share of "
          "the estimated mass.",
      .parameters =
          {
              {.name = "stride",
               .kind = ParameterInfo::Kind::kChoice,
               .minimum = 4,
               .maximum = 64,
               .default_value = 16,
               .choices = {4, 8, 16, 32, 64},
               .help = "tokens of a group: the estimate costs dense QK divided by this"},
              {.name = "threshold",
               .kind = ParameterInfo::Kind::kReal,
               .minimum = 0.0,
               .maximum = 1.0,
               .default_value = 0.9,
               .per_head = true,
               .help = "share of the estimated mass to keep: 1 keeps all, 0 only forced tiles"},
              {.name = "keep_sink",
               .kind = ParameterInfo::Kind::kBoolean,
               .minimum = 0,
               .maximum = 1,
               .default_value = 1,
               .help = "every query visits the first key block"},
              {.name = "keep_recent",
               .kind = ParameterInfo::Kind::kBoolean,
               .minimum = 0,
               .maximum = 1,
               .default_value = 0,
               .help = "every query visits the key block at its own position; always so under a "
                       "causal mask"},
          },
      .make = [](const ParameterValues& values) -> std::unique_ptr<Selector> {
        return std::make_unique<XAttentionSelector>(XAttentionParameters{
            .stride = static_cast<int32_t>(values.at("stride")[0]),
            .threshold = values.at("threshold"),
            .keep_sink = values.at("keep_sink")[0] != 0.0,
            .keep_recent = values.at("keep_recent")[0] != 0.0,
        });
      },
  };
}

}  // namespace tamis
