#include "attention/cpu/decode.h"

#include <algorithm>

#include "attention/cpu/decode_unit.h"

namespace tamis::cpu {
namespace {

/// Scores and partial results of a wave of units; a unit that needs more is a wave alone.
constexpr size_t kWaveBytes = size_t{64} << 20;
/// Items for each worker, so that all end together, where they hold several splits.
constexpr int64_t kItemsPerWorker = 8;

/// Splits of a unit of the wave.
struct Item {
  int32_t unit;
  int32_t first_split;
  int32_t splits;
};

/// A unit in the current wave.
struct Unit {
  int32_t b;
  int32_t kv_head;
  int32_t first_query;
  int32_t steps;
  size_t offset;  ///< of its storage
};

class Decode {
 public:
  Decode(const Call& call, Carver& carver, int32_t workers)
      : call_(call), shape_(call), workers_(workers) {
    const AttentionArguments& a = call.arguments;
    const int64_t key_steps = (int64_t{a.key_tokens} + kStepKeys - 1) / kStepKeys;
    // Every key in a partly visited block, or gathered beside it.
    const int64_t most_steps = call.index == nullptr ? key_steps : 2 * key_steps;
    const int64_t units =
        int64_t{a.batch} * a.kv_heads * ((a.query_tokens + shape_.queries - 1) / shape_.queries);
    Carver one(nullptr);
    DecodeStorage(shape_, most_steps, one);
    wave_bytes_ = std::max(one.bytes(), std::min(kWaveBytes, one.bytes() * units));
    units_ = carver.Take<Unit>(units);
    items_ = carver.Take<Item>(units * SplitsOf(most_steps));
    storage_ = carver.Take<char>(static_cast<int64_t>(wave_bytes_));
    scratch_ = carver.Take<DecodeScratch>(workers);
    for (int32_t worker = 0; worker < workers; ++worker) {
      const DecodeScratch scratch(shape_, carver);
      if (scratch_ != nullptr) scratch_[worker] = scratch;
    }
  }

  void Run() {
    const AttentionArguments& a = call_.arguments;
    for (int32_t b = 0; b < a.batch; ++b) {
      const SequenceView sequence(a, b);
      if (sequence.phase() != Phase::kDecode) continue;
      for (int32_t query = 0; query < sequence.queries(); query += shape_.queries) {
        for (int32_t kv_head = 0; kv_head < a.kv_heads; ++kv_head) {
          AddUnit(sequence, b, kv_head, query);
        }
      }
    }
    RunWave();
  }

 private:
  void AddUnit(const SequenceView& sequence, int32_t b, int32_t kv_head, int32_t first_query) {
    const int32_t steps = DecodeUnit::BlockSteps(sequence) +
                          DecodeUnit::ColumnSteps(call_, shape_, b, kv_head, first_query);
    Carver size(nullptr);
    DecodeStorage(shape_, steps, size);
    if (used_bytes_ + size.bytes() > wave_bytes_) RunWave();
    units_[unit_count_++] = {.b = b,
                             .kv_head = kv_head,
                             .first_query = first_query,
                             .steps = steps,
                             .offset = used_bytes_};
    used_bytes_ += size.bytes();
    most_splits_ = std::max(most_splits_, SplitsOf(steps));
  }

  void RunWave() {
    if (most_splits_ <= 1) {
      call_.pool->ParallelFor(unit_count_, [this](int64_t unit, int worker) {
        WithUnit(units_[unit], worker, [&](DecodeUnit& work) {
          if (units_[unit].steps > 0) {
            work.Score(0, 1);
            work.Weigh(0, 1);
          }
          work.Merge();
        });
      });
    } else {
      ListItems();
      if (shape_.scores_first) {
        RunItems([](DecodeUnit& work, const Item& i) { work.Score(i.first_split, i.splits); });
        RunItems([](DecodeUnit& work, const Item& i) { work.Weigh(i.first_split, i.splits); });
      } else {
        RunItems([](DecodeUnit& work, const Item& i) {
          work.Score(i.first_split, i.splits);
          work.Weigh(i.first_split, i.splits);
        });
      }
      call_.pool->ParallelFor(unit_count_, [this](int64_t unit, int worker) {
        WithUnit(units_[unit], worker, [](DecodeUnit& work) { work.Merge(); });
      });
    }
    unit_count_ = 0;
    used_bytes_ = 0;
    most_splits_ = 0;
  }

  template <typename Work>
  void RunItems(const Work& work) {
    call_.pool->ParallelFor(item_count_, [&](int64_t item, int worker) {
      WithUnit(units_[items_[item].unit], worker,
               [&](DecodeUnit& unit) { work(unit, items_[item]); });
    });
  }

  /// The KV heads of a sequence take the same keys one after the other: where they lie side by
  /// side in memory, what hardware prefetches past one head is what the next one reads.
  void ListItems() {
    int64_t all = 0;
    for (int64_t unit = 0; unit < unit_count_; ++unit) all += SplitsOf(units_[unit].steps);
    const auto at_once = static_cast<int32_t>(
        std::clamp<int64_t>(all / (kItemsPerWorker * workers_), 1, shape_.splits_at_once));
    item_count_ = 0;
    for (int64_t first = 0, last = 0; first < unit_count_; first = last) {
      const auto same = [&](const Unit& u) {
        return u.b == units_[first].b && u.first_query == units_[first].first_query;
      };
      int32_t splits = 0;
      for (; last < unit_count_ && same(units_[last]); ++last) {
        splits = std::max(splits, SplitsOf(units_[last].steps));
      }
      for (int32_t split = 0; split < splits; split += at_once) {
        for (int64_t unit = first; unit < last; ++unit) {
          const int32_t left = SplitsOf(units_[unit].steps) - split;
          if (left <= 0) continue;
          items_[item_count_++] = {static_cast<int32_t>(unit), split, std::min(left, at_once)};
        }
      }
    }
  }

  template <typename Work>
  void WithUnit(const Unit& unit, int worker, const Work& work) {
    Carver carver(storage_ + unit.offset);
    const DecodeStorage storage(shape_, unit.steps, carver);
    DecodeUnit decode(call_, shape_, unit.b, unit.kv_head, unit.first_query, unit.steps, storage,
                      scratch_[worker]);
    work(decode);
  }

  const Call& call_;
  DecodeShape shape_;
  int32_t workers_;
  size_t wave_bytes_ = 0;
  Unit* units_;
  Item* items_;  // in the order they run
  char* storage_;
  DecodeScratch* scratch_;  // by worker

  int64_t unit_count_ = 0, item_count_ = 0;
  size_t used_bytes_ = 0;
  int32_t most_splits_ = 0;
};

}  // namespace

void RunDecode(const Call& call, Carver& carver, int32_t workers, bool run) {
  Decode decode(call, carver, workers);
  if (run) decode.Run();
}

}  // namespace tamis::cpu
