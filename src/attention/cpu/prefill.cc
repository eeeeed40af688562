#include "attention/cpu/prefill.h"

#include <algorithm>
#include <atomic>

#include "attention/cpu/index_row.h"
#include "attention/cpu/prefill_tile.h"
#include "attention/cpu/visible.h"

namespace tamis::cpu {
namespace {

/// Packed bytes of a wave. Larger waves balance better; a KV head that needs more is a wave alone.
constexpr int64_t kWaveBytes = int64_t{192} << 20;

int32_t StepsOf(int32_t keys) { return (keys + kStepKeys - 1) / kStepKeys; }

/// One KV head of one sequence in the current wave.
struct Unit {
  int32_t b;
  int32_t kv_head;
  int32_t steps;
  int64_t first_step;  ///< in the wave's packed steps
  int64_t first_item;  ///< in the wave's tile rows
};

/// A tile row. The longest come first, so that workers end together; what is short beside a
/// worker's share stays in order of index, which keeps a KV head's packed K and V in the caches.
struct Item {
  uint32_t cost;  ///< in steps, then in shares of a worker's
  uint32_t index;
};
constexpr int64_t kSharesOfAWorker = 64;

class Prefill {
 public:
  Prefill(const Call& call, Carver& carver, int32_t workers)
      : call_(call), sizes_(call), workers_(workers) {
    const AttentionArguments& a = call.arguments;
    const int64_t heads = int64_t{a.batch} * a.kv_heads;
    const int64_t steps = std::max(1, StepsOf(a.key_tokens));
    const int64_t step_bytes = sizes_.key_step_bytes + sizes_.value_step_bytes;
    const int64_t wave_heads = std::clamp<int64_t>(kWaveBytes / (steps * step_bytes), 1, heads);
    wave_steps_ = wave_heads * steps;
    tile_rows_ = (a.query_tokens + call.tiles.rows - 1) / call.tiles.rows;
    // Short sequences of a ragged batch let more heads into a wave; the arrays hold any number.
    units_ = carver.Take<Unit>(heads);
    items_ = carver.Take<Item>(heads * tile_rows_ * a.group());
    needed_ = carver.Take<uint8_t>(wave_steps_);
    keys_ = carver.Take<char>(wave_steps_ * sizes_.key_step_bytes);
    values_ = carver.Take<char>(wave_steps_ * sizes_.value_step_bytes);
    scratch_ = carver.Take<PrefillScratch>(workers);
    for (int32_t worker = 0; worker < workers; ++worker) {
      const PrefillScratch scratch(call, carver);
      if (scratch_ != nullptr) scratch_[worker] = scratch;
    }
  }

  void Run() {
    const AttentionArguments& a = call_.arguments;
    int32_t b = 0, kv_head = 0;
    while (b < a.batch) {
      unit_count_ = 0;
      step_count_ = 0;
      item_count_ = 0;
      for (; b < a.batch && AddUnit(b, kv_head); kv_head = (kv_head + 1) % a.kv_heads) {
        if (kv_head == a.kv_heads - 1) ++b;
      }
      if (unit_count_ > 0) RunWave();
    }
  }

 private:
  /// False where the unit does not fit the wave any more.
  bool AddUnit(int32_t b, int32_t kv_head) {
    const SequenceView sequence(call_.arguments, b);
    if (sequence.phase() != Phase::kPrefill || sequence.queries() == 0) return true;
    const int32_t steps = StepsOf(sequence.keys());
    if (step_count_ + steps > wave_steps_) return false;
    units_[unit_count_++] = {.b = b,
                             .kv_head = kv_head,
                             .steps = steps,
                             .first_step = step_count_,
                             .first_item = item_count_};
    step_count_ += steps;
    item_count_ += TileRows(sequence) * call_.arguments.group();
    return true;
  }

  int64_t TileRows(const SequenceView& sequence) const {
    return (sequence.queries() + call_.tiles.rows - 1) / call_.tiles.rows;
  }

  void RunWave() {
    std::fill_n(needed_, step_count_, uint8_t{0});
    call_.pool->ParallelFor(unit_count_, [this](int64_t unit, int) { Survey(units_[unit]); });
    call_.pool->ParallelFor(step_count_, [this](int64_t step, int) {
      if (needed_[step] != 0) PackStep(step);
    });
    OrderItems();
    // A worker claims its next tile row before it runs one, so that it can bring the queries.
    std::atomic<int64_t> claimed{0};
    call_.pool->Run([&](int worker) {
      for (int64_t item = claimed++, next = 0; item < item_count_; item = next) {
        next = claimed++;
        RunItem(items_[item].index, next < item_count_ ? int64_t{items_[next].index} : -1,
                scratch_[worker]);
      }
      if (call_.streams_output) call_.kernels.order_streamed_rows();
    });
  }

  void OrderItems() {
    int64_t total = 0;
    for (int64_t i = 0; i < item_count_; ++i) total += items_[i].cost;
    const auto share =
        static_cast<uint32_t>(std::max<int64_t>(1, total / (workers_ * kSharesOfAWorker)));
    for (int64_t i = 0; i < item_count_; ++i) items_[i].cost /= share;
    std::sort(items_, items_ + item_count_, [](const Item& x, const Item& y) {
      return x.cost != y.cost ? x.cost > y.cost : x.index < y.index;
    });
  }

  /// Marks the steps that a unit's tile rows visit, and weighs the tile rows by them.
  void Survey(const Unit& unit) {
    const AttentionArguments& a = call_.arguments;
    const SequenceView sequence(a, unit.b);
    const Visibility visibility(call_, sequence, unit.b);
    int64_t item = unit.first_item;
    for (int64_t tile_row = 0; tile_row < TileRows(sequence); ++tile_row) {
      const auto first = static_cast<int32_t>(tile_row) * call_.tiles.rows;
      const int32_t last = std::min(first + call_.tiles.rows, sequence.queries());
      const Span top = visibility.SpanOf(first);
      const Span bottom = visibility.SpanOf(last - 1);
      for (int32_t g = 0; g < a.group(); ++g, ++item) {
        IndexRow row(call_.index, unit.b, unit.kv_head * a.group() + g, first, sequence.keys());
        items_[item] = {.cost = Visit(unit, row, top, bottom),
                        .index = static_cast<uint32_t>(item)};
      }
    }
  }

  /// Marks what one tile row visits; returns its cost in steps.
  uint32_t Visit(const Unit& unit, IndexRow& row, const Span& top, const Span& bottom) {
    auto cost = static_cast<uint32_t>(row.columns_bound() / kStepKeys);
    const int32_t sink_end = std::max(top.sink_end, bottom.sink_end);
    const int32_t begin = std::min(top.begin, bottom.begin);
    const int32_t end = std::max(bottom.end, sink_end);
    const int32_t steps = std::min(unit.steps, StepsOf(end));
    for (int32_t s = row.NextVisited(0); s < steps; s = row.NextVisited(s + 1)) {
      const int32_t first = s * kStepKeys;
      if (first >= sink_end && first + kStepKeys <= begin) continue;
      if (!Any(row.Visited(s))) continue;
      needed_[unit.first_step + s] = 1;
      ++cost;
    }
    return cost;
  }

  void PackStep(int64_t wave_step) {
    const Unit& unit =
        *(std::upper_bound(units_, units_ + unit_count_, wave_step,
                           [](int64_t step, const Unit& u) { return step < u.first_step; }) -
          1);
    const AttentionArguments& a = call_.arguments;
    const SequenceView sequence(a, unit.b);
    const bool paged = a.paged.page_size != 0;
    const auto first = static_cast<int32_t>(wave_step - unit.first_step) * kStepKeys;
    PackRows(sequence, paged ? a.paged.k : a.k, unit.kv_head, first, a.head_dim,
             keys_ + wave_step * sizes_.key_step_bytes, call_.kernels.pack_keys);
    PackRows(sequence, paged ? a.paged.v : a.v, unit.kv_head, first, a.dim_v(),
             values_ + wave_step * sizes_.value_step_bytes, call_.kernels.pack_values);
  }

  void PackRows(const SequenceView& sequence, const ConstTensor& tensor, int32_t kv_head,
                int32_t first, int32_t dim, char* step, void (*pack)(const PackArguments&)) const {
    const AttentionArguments& a = call_.arguments;
    const auto element = static_cast<int64_t>(SizeOf(a.kv_dtype));
    const int32_t count = std::min(kStepKeys, sequence.keys() - first);
    PackArguments run{
        .dtype = a.kv_dtype, .stride = tensor.stride.row * element, .dim = dim, .step = step};
    for (int32_t done = 0; done < count; done += run.count) {
      run.first = done;
      run.count = std::min(count - done, RunLength(a, first + done));
      run.rows = static_cast<const char*>(tensor.data) +
                 sequence.KeyOffset(tensor.stride, first + done, kv_head) * element;
      pack(run);
    }
    if (count < kStepKeys) {
      pack({.dtype = a.kv_dtype,
            .rows = nullptr,
            .count = kStepKeys - count,
            .first = count,
            .dim = dim,
            .step = step});
    }
  }

  /// Where a tile row lies.
  struct Place {
    const Unit& unit;
    int32_t head;
    int32_t first_query;
  };

  Place PlaceOf(int64_t index) const {
    const Unit& unit =
        *(std::upper_bound(units_, units_ + unit_count_, index,
                           [](int64_t item, const Unit& u) { return item < u.first_item; }) -
          1);
    const int32_t group = call_.arguments.group();
    const int64_t within = index - unit.first_item;
    return {.unit = unit,
            .head = unit.kv_head * group + static_cast<int32_t>(within % group),
            .first_query = static_cast<int32_t>(within / group) * call_.tiles.rows};
  }

  /// `next`: the tile row that this worker runs after it; -1: none.
  void RunItem(int64_t index, int64_t next, PrefillScratch& scratch) const {
    const Place place = PlaceOf(index);
    const PackedHead packed{keys_ + place.unit.first_step * sizes_.key_step_bytes,
                            values_ + place.unit.first_step * sizes_.value_step_bytes};
    const NextTileRow next_row = next < 0 ? NextTileRow{} : NextOf(PlaceOf(next));
    const auto run = [&](bool whole_steps) {
      return PrefillTile(call_, sizes_, packed, scratch, place.unit.b, place.head,
                         place.first_query, next_row, whole_steps)
          .Run();
    };
    if (!run(true)) static_cast<void>(run(false));
  }

  NextTileRow NextOf(const Place& place) const {
    const SequenceView sequence(call_.arguments, place.unit.b);
    const int32_t rows = std::min(call_.tiles.rows, sequence.queries() - place.first_query);
    // The step that it runs first, but for masks that hide it.
    IndexRow row(call_.index, place.unit.b, place.head, place.first_query, sequence.keys());
    const int32_t step = std::min(row.NextVisited(0), place.unit.steps - 1);
    return {.queries = QueryRowsOf(call_, sequence, place.first_query, rows, place.head),
            .keys = keys_ + (place.unit.first_step + step) * sizes_.key_step_bytes};
  }

  const Call& call_;
  PackedSizes sizes_;
  int32_t workers_;
  int64_t wave_steps_;
  int64_t tile_rows_;
  Unit* units_;
  Item* items_;
  uint8_t* needed_;  // by step of the wave: some tile row visits it
  char* keys_;       // packed steps of the wave
  char* values_;
  PrefillScratch* scratch_;  // by worker

  int64_t unit_count_ = 0, step_count_ = 0, item_count_ = 0;
};

}  // namespace

void RunPrefill(const Call& call, Carver& carver, int32_t workers, bool run) {
  Prefill prefill(call, carver, workers);
  if (run) prefill.Run();
}

}  // namespace tamis::cpu
