// XAttention's estimate on the CPU.
//
// It is a matrix product of depth S * head_dim between query groups (rows gathered in descending
// order) and key groups (ascending). K is packed once per KV head; an item of work is all query
// heads of the group over a few query blocks, so that each packed key strip serves them all. A
// tile of logits lives on the worker's scratch just long enough to become one (maximum, sum) per
// query group and key block; once the last block is known these turn into masses.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

#include "attention/sequence_view.h"
#include "select/visibility.h"
#include "select/xattention.h"

namespace tamis {
namespace {

/// K of this many (sequence, KV head) pairs is packed at a time: as many as fit, at least one.
constexpr size_t kPackedKeyBudget = size_t{32} << 20;
/// Query groups an item should hold at least, for reuse of each key strip.
constexpr int32_t kItemLanes = 64;
constexpr int32_t kMostUnitGroups = 32;

size_t RoundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }
int32_t CeilDiv(int64_t value, int64_t divisor) {
  return static_cast<int32_t>((value + divisor - 1) / divisor);
}

/// Sizes that follow from shapes alone; each grows with the shapes it is made from.
struct Layout {
  Layout(const AttentionArguments& arguments, int32_t stride, const XAttentionKernel& kernel)
      : stride(stride),
        block_groups(kXAttentionBlock / stride),
        unit_groups(std::max(block_groups, kStripGroups)),
        depth(stride * arguments.head_dim),
        query_blocks(CeilDiv(arguments.query_tokens, kXAttentionBlock)),
        key_units(CeilDiv(arguments.key_tokens, int64_t{unit_groups} * stride)) {
    block_lanes = arguments.group() * block_groups;
    // The fewest query blocks that fill whole panels, repeated up to kItemLanes.
    const int32_t whole = kPanelLanes / std::gcd(block_lanes, kPanelLanes);
    item_blocks = whole * CeilDiv(kItemLanes, int64_t{whole} * block_lanes);
    item_blocks = std::max(1, std::min(item_blocks, query_blocks));
    panels = CeilDiv(int64_t{item_blocks} * block_lanes, kPanelLanes);
    strip_bytes = size_t(depth) * kStripGroups * kernel.element_bytes;
    pair_bytes = size_t(key_units) * (unit_groups / kStripGroups) * strip_bytes;
    const size_t pairs = size_t(arguments.batch) * arguments.kv_heads;
    packed_key_bytes = std::max(pair_bytes, std::min(kPackedKeyBudget, pairs * pair_bytes));
    panel_bytes = size_t(depth) * kPanelLanes * kernel.element_bytes;
    key_blocks = key_units * (unit_groups / block_groups);
    statistics_floats = size_t(key_blocks) * kPanelLanes;
    worker_bytes = panels * (panel_bytes + 2 * RoundUp(statistics_floats * sizeof(float))) +
                   RoundUp(key_blocks * sizeof(float));
  }

  int32_t stride;
  int32_t block_groups;  ///< groups of a block
  int32_t unit_groups;   ///< groups of a unit: the larger of a block and a strip
  int32_t depth;
  int32_t query_blocks;
  int32_t key_units;
  int32_t key_blocks;   ///< blocks of all units
  int32_t block_lanes;  ///< query groups of a query block, over the heads of a KV head
  int32_t item_blocks;  ///< query blocks of an item
  int32_t panels;       ///< of an item
  size_t strip_bytes;
  size_t pair_bytes;  ///< packed K of one sequence and KV head
  size_t packed_key_bytes;
  size_t panel_bytes;
  size_t statistics_floats;  ///< of one panel: maxima, and as many sums
  size_t worker_bytes;
};

/// One worker's scratch.
struct Scratch {
  Scratch(const Layout& layout, void* memory) : layout(layout) {
    auto* p = static_cast<unsigned char*>(memory);
    packed = p;
    p += layout.panels * layout.panel_bytes;
    maxima = reinterpret_cast<float*>(p);
    const size_t statistics = RoundUp(layout.statistics_floats * sizeof(float));
    p += layout.panels * statistics;
    sums = reinterpret_cast<float*>(p);
    p += layout.panels * statistics;
    mass = reinterpret_cast<float*>(p);
    panel_stride = static_cast<int64_t>(statistics / sizeof(float));
  }
  unsigned char* Packed(int32_t panel) const { return packed + panel * layout.panel_bytes; }
  float* Maxima(int32_t panel) const { return maxima + panel * panel_stride; }
  float* Sums(int32_t panel) const { return sums + panel * panel_stride; }

  const Layout& layout;
  unsigned char* packed;
  float* maxima;
  float* sums;
  float* mass;
  int64_t panel_stride;
};

/// What the lanes of one panel see.
struct alignas(64) Panel {
  std::array<int32_t, kPanelLanes> last_group;  ///< last allowed key group; -1: none
  std::array<float, kPanelLanes> scale;         ///< softmax_scale * log2(e) / rows of the group
  std::array<float, kPanelLanes> tail;  ///< what makes the sum over the short last key group a mean
  int32_t key_groups = 0;               ///< the largest last_group + 1
};

class Estimator {
 public:
  Estimator(const AttentionArguments& arguments, const Layout& layout, void* workspace,
            ThreadPool& pool, const XAttentionKernel& kernel, const XAttentionVisitor& visit)
      : arguments_(arguments),
        layout_(layout),
        pool_(pool),
        kernel_(kernel),
        visit_(visit),
        packed_keys_(static_cast<unsigned char*>(workspace)),
        workers_(packed_keys_ + RoundUp(layout.packed_key_bytes)) {}

  void Run() {
    const int64_t pairs = int64_t{arguments_.batch} * arguments_.kv_heads;
    const int64_t at_a_time =
        layout_.pair_bytes == 0
            ? pairs
            : std::min<int64_t>(pairs, layout_.packed_key_bytes / layout_.pair_bytes);
    for (int64_t first = 0; first < pairs; first += at_a_time) {
      const int64_t count = std::min(at_a_time, pairs - first);
      const int64_t strips = int64_t{layout_.key_units} * (layout_.unit_groups / kStripGroups);
      pool_.ParallelFor(count * strips, [&](int64_t item, int) {
        PackStrip(first, item / strips, static_cast<int32_t>(item % strips));
      });
      // Under a causal mask the last query blocks see the most keys: they go first.
      const int64_t items = CeilDiv(layout_.query_blocks, layout_.item_blocks);
      pool_.ParallelFor(count * items, [&](int64_t item, int worker) {
        EstimateItem(first, item % count,
                     static_cast<int32_t>(items - 1 - item / count) * layout_.item_blocks, worker);
      });
    }
  }

 private:
  int32_t SequenceOf(int64_t pair) const {
    return static_cast<int32_t>(pair / arguments_.kv_heads);
  }
  int32_t KvHeadOf(int64_t pair) const { return static_cast<int32_t>(pair % arguments_.kv_heads); }

  /// Packs kStripGroups key groups of pair `first + slot`.
  void PackStrip(int64_t first, int64_t slot, int32_t strip) {
    const SequenceView sequence(arguments_, SequenceOf(first + slot));
    const int64_t first_key = int64_t{strip} * kStripGroups * layout_.stride;
    if (first_key >= sequence.keys()) return;  // beyond the sequence: never read
    const bool paged = arguments_.paged.page_size != 0;
    const ConstTensor& k = paged ? arguments_.paged.k : arguments_.k;
    const auto* data = static_cast<const unsigned char*>(k.data);
    const size_t element = SizeOf(arguments_.kv_dtype);
    unsigned char* target = packed_keys_ + slot * layout_.pair_bytes + strip * layout_.strip_bytes;
    const void* rows[kStripGroups];
    for (int32_t t = 0; t < layout_.stride; ++t) {
      for (int32_t g = 0; g < kStripGroups; ++g) {
        const int64_t key = first_key + int64_t{g} * layout_.stride + t;
        rows[g] = key < sequence.keys()
                      ? data + sequence.KeyOffset(k.stride, static_cast<int32_t>(key),
                                                  KvHeadOf(first + slot)) *
                                   static_cast<int64_t>(element)
                      : nullptr;
      }
      kernel_.pack(arguments_.kv_dtype, rows, kStripGroups, arguments_.head_dim,
                   target + t * (layout_.strip_bytes / layout_.stride));
    }
  }

  /// Masses of query blocks [first_block, first_block + item_blocks), all heads of the pair.
  void EstimateItem(int64_t first, int64_t slot, int32_t first_block, int worker) {
    const int32_t b = SequenceOf(first + slot);
    const SequenceView sequence(arguments_, b);
    const int32_t blocks =
        std::min(layout_.item_blocks, CeilDiv(sequence.queries(), kXAttentionBlock) - first_block);
    if (blocks <= 0) return;
    const int32_t first_head = KvHeadOf(first + slot) * arguments_.group();
    const Scratch scratch(layout_, workers_ + worker * layout_.worker_bytes);
    const int32_t panels = CeilDiv(int64_t{blocks} * layout_.block_lanes, kPanelLanes);
    for (int32_t p = 0; p < panels; ++p) {
      Panel panel;
      PreparePanel(sequence, first_head, first_block, blocks, p, panel, scratch.Packed(p));
      ScorePanel(sequence, slot, p, panel, scratch);
    }
    for (int32_t block = 0; block < blocks; ++block) {
      for (int32_t h = 0; h < arguments_.group(); ++h) {
        VisitRow(sequence, b, first_head, h, first_block, block, scratch, worker);
      }
    }
  }

  /// Lane l of an item is group l % block_groups of head l / block_groups % group of query block
  /// l / block_lanes.
  void PreparePanel(const SequenceView& sequence, int32_t first_head, int32_t first_block,
                    int32_t blocks, int32_t p, Panel& panel, unsigned char* packed) const {
    const int32_t stride = layout_.stride;
    const int32_t short_keys = sequence.keys() % stride;  // keys of a short last group
    std::array<int32_t, kPanelLanes> first_row{};
    std::array<int32_t, kPanelLanes> rows{};  // of the lane's group; 0: no such group
    std::array<int32_t, kPanelLanes> head{};
    for (int32_t i = 0; i < kPanelLanes; ++i) {
      const int32_t lane = p * kPanelLanes + i;
      panel.last_group[i] = -1;
      panel.scale[i] = panel.tail[i] = 0.0f;
      if (lane >= blocks * layout_.block_lanes) continue;
      const int32_t block = first_block + lane / layout_.block_lanes;
      head[i] = first_head + lane % layout_.block_lanes / layout_.block_groups;
      first_row[i] = block * kXAttentionBlock + lane % layout_.block_groups * stride;
      rows[i] = std::clamp(sequence.queries() - first_row[i], 0, stride);
      if (rows[i] == 0) continue;
      const int64_t visible =
          LastVisiblePosition(arguments_.mask, sequence.QueryPosition(first_row[i] + rows[i] - 1));
      const int64_t last_key = std::min<int64_t>(visible, sequence.keys() - 1);
      panel.last_group[i] = last_key < 0 ? -1 : static_cast<int32_t>(last_key / stride);
      panel.key_groups = std::max(panel.key_groups, panel.last_group[i] + 1);
      panel.scale[i] = Scale() / static_cast<float>(rows[i]);
      // Terms t >= stride - rows exist on the query side, t < short_keys on the key side.
      const int32_t terms = rows[i] + short_keys - stride;
      panel.tail[i] = terms > 0 ? static_cast<float>(rows[i]) / static_cast<float>(terms) : 0.0f;
    }
    const auto* data = static_cast<const unsigned char*>(arguments_.q.data);
    const auto element = static_cast<int64_t>(SizeOf(arguments_.dtype));
    const void* pointers[kPanelLanes];
    for (int32_t t = 0; t < stride; ++t) {
      const int32_t row = stride - 1 - t;
      for (int32_t i = 0; i < kPanelLanes; ++i) {
        pointers[i] = row < rows[i] ? data + sequence.QueryOffset(arguments_.q.stride,
                                                                  first_row[i] + row, head[i]) *
                                                 element
                                    : nullptr;
      }
      kernel_.pack(arguments_.dtype, pointers, kPanelLanes, arguments_.head_dim,
                   packed + t * (layout_.panel_bytes / stride));
    }
  }

  /// softmax_scale * log2(e): the kernels' exponentials have base 2.
  float Scale() const {
    const double scale = arguments_.softmax_scale != 0.0f
                             ? double{arguments_.softmax_scale}
                             : 1.0 / std::sqrt(double(arguments_.head_dim));
    return static_cast<float>(scale * std::numbers::log2e);
  }

  /// Leaves, in the panel's sums, the masses of its lanes for the first blocks of key_groups.
  void ScorePanel(const SequenceView& sequence, int64_t slot, int32_t p, const Panel& panel,
                  const Scratch& scratch) const {
    alignas(64) float logits[kMostUnitGroups * kPanelLanes];
    const int32_t unit_blocks = layout_.unit_groups / layout_.block_groups;
    const int32_t unit_strips = layout_.unit_groups / kStripGroups;
    const int32_t units = CeilDiv(panel.key_groups, layout_.unit_groups);
    const int32_t strips = CeilDiv(panel.key_groups, kStripGroups);
    const int32_t short_group =
        sequence.keys() % layout_.stride == 0 ? -1 : sequence.keys() / layout_.stride;
    const unsigned char* keys = packed_keys_ + slot * layout_.pair_bytes;
    float* maxima = scratch.Maxima(p);
    float* sums = scratch.Sums(p);
    for (int32_t unit = 0; unit < units; ++unit) {
      const int32_t first_group = unit * layout_.unit_groups;
      for (int32_t s = 0; s < unit_strips; ++s) {
        const int32_t strip = unit * unit_strips + s;
        float* target = logits + s * kStripGroups * kPanelLanes;
        if (strip < strips) {
          kernel_.multiply(scratch.Packed(p), keys + strip * layout_.strip_bytes, layout_.depth,
                           target);
        } else {
          std::fill_n(target, kStripGroups * kPanelLanes, 0.0f);  // hidden from every lane
        }
      }
      if (short_group >= first_group && short_group < first_group + layout_.unit_groups) {
        float* row = logits + (short_group - first_group) * kPanelLanes;
        for (int32_t i = 0; i < kPanelLanes; ++i) row[i] *= panel.tail[i];
      }
      for (int32_t j = 0; j < unit_blocks; ++j) {
        const int64_t at = (int64_t{unit} * unit_blocks + j) * kPanelLanes;
        kernel_.reduce(logits + j * layout_.block_groups * kPanelLanes, layout_.block_groups,
                       first_group + j * layout_.block_groups, panel.last_group.data(),
                       panel.scale.data(), maxima + at, sums + at);
      }
    }
    const int32_t blocks = CeilDiv(panel.key_groups, layout_.block_groups);
    kernel_.normalise(maxima, sums, blocks);
    std::fill(sums + int64_t{blocks} * kPanelLanes, sums + layout_.statistics_floats, 0.0f);
  }

  void VisitRow(const SequenceView& sequence, int32_t b, int32_t first_head, int32_t h,
                int32_t first_block, int32_t block, const Scratch& scratch, int worker) const {
    const int32_t query_block = first_block + block;
    const int32_t last_row = std::min((query_block + 1) * kXAttentionBlock, sequence.queries()) - 1;
    const int64_t last_key =
        std::min<int64_t>(LastVisiblePosition(arguments_.mask, sequence.QueryPosition(last_row)),
                          sequence.keys() - 1);
    const int32_t seen = last_key < 0 ? 0 : static_cast<int32_t>(last_key / kXAttentionBlock) + 1;
    std::fill_n(scratch.mass, seen, 0.0f);
    const int32_t first_lane = block * layout_.block_lanes + h * layout_.block_groups;
    for (int32_t lane = first_lane; lane < first_lane + layout_.block_groups;) {
      // Lanes of one head and block may straddle two panels.
      const int32_t p = lane / kPanelLanes;
      const int32_t end = std::min(first_lane + layout_.block_groups, (p + 1) * kPanelLanes);
      for (int32_t j = 0; j < seen; ++j) {
        const float* sums = scratch.Sums(p) + int64_t{j} * kPanelLanes - int64_t{p} * kPanelLanes;
        for (int32_t l = lane; l < end; ++l) scratch.mass[j] += sums[l];
      }
      lane = end;
    }
    visit_(b, first_head + h, query_block, {scratch.mass, static_cast<size_t>(seen)}, worker);
  }

  const AttentionArguments& arguments_;
  const Layout& layout_;
  ThreadPool& pool_;
  const XAttentionKernel& kernel_;
  const XAttentionVisitor& visit_;
  unsigned char* packed_keys_;
  unsigned char* workers_;
};

}  // namespace

size_t XAttentionWorkspaceBytes(const AttentionArguments& maxima, int32_t stride, int workers,
                                const XAttentionKernel& kernel) {
  const Layout layout(maxima, stride, kernel);
  return RoundUp(layout.packed_key_bytes) + size_t(workers) * layout.worker_bytes;
}

void EstimateXAttention(const AttentionArguments& arguments, int32_t stride, void* workspace,
                        ThreadPool& pool, const XAttentionKernel& kernel,
                        const XAttentionVisitor& visit) {
  const Layout layout(arguments, stride, kernel);
  Estimator(arguments, layout, workspace, pool, kernel, visit).Run();
}

}  // namespace tamis
