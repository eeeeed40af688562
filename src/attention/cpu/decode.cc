#include "attention/cpu/decode.h"

#include <algorithm>

#include "attention/cpu/decode_unit.h"

namespace tamis::cpu {
namespace {

/// Scores and partial results of a wave of units; a unit that needs more is a wave alone.
constexpr size_t kWaveBytes = size_t{64} << 20;

/// A unit in the current wave.
struct Unit {
  int32_t b;
  int32_t kv_head;
  int32_t first_query;
  int32_t steps;
  int64_t first_split;  ///< in the wave
  size_t offset;        ///< of its storage
};

int32_t SplitsOf(int32_t steps) { return (steps + kSplitSteps - 1) / kSplitSteps; }

class Decode {
 public:
  Decode(const Call& call, Carver& carver, int32_t workers) : call_(call), shape_(call) {
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
      for (int32_t kv_head = 0; kv_head < a.kv_heads; ++kv_head) {
        for (int32_t query = 0; query < sequence.queries(); query += shape_.queries) {
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
                             .first_split = split_count_,
                             .offset = used_bytes_};
    split_count_ += SplitsOf(steps);
    used_bytes_ += size.bytes();
    most_splits_ = std::max(most_splits_, SplitsOf(steps));
  }

  void RunWave() {
    if (most_splits_ <= 1) {
      call_.pool->ParallelFor(unit_count_, [this](int64_t unit, int worker) {
        WithUnit(units_[unit], worker, [&](DecodeUnit& work) {
          if (units_[unit].steps > 0) {
            work.Score(0);
            work.Weigh(0);
          }
          work.Merge();
        });
      });
    } else {
      call_.pool->ParallelFor(split_count_, [this](int64_t item, int worker) {
        const Unit& unit = UnitOf(item);
        WithUnit(unit, worker, [&](DecodeUnit& work) {
          work.Score(static_cast<int32_t>(item - unit.first_split));
        });
      });
      call_.pool->ParallelFor(split_count_, [this](int64_t item, int worker) {
        const Unit& unit = UnitOf(item);
        WithUnit(unit, worker, [&](DecodeUnit& work) {
          work.Weigh(static_cast<int32_t>(item - unit.first_split));
        });
      });
      call_.pool->ParallelFor(unit_count_, [this](int64_t unit, int worker) {
        WithUnit(units_[unit], worker, [](DecodeUnit& work) { work.Merge(); });
      });
    }
    unit_count_ = 0;
    split_count_ = 0;
    used_bytes_ = 0;
    most_splits_ = 0;
  }

  const Unit& UnitOf(int64_t split) const {
    return *(std::upper_bound(units_, units_ + unit_count_, split,
                              [](int64_t s, const Unit& u) { return s < u.first_split; }) -
             1);
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
  size_t wave_bytes_ = 0;
  Unit* units_;
  char* storage_;
  DecodeScratch* scratch_;  // by worker

  int64_t unit_count_ = 0, split_count_ = 0;
  size_t used_bytes_ = 0;
  int32_t most_splits_ = 0;
};

}  // namespace

void RunDecode(const Call& call, Carver& carver, int32_t workers, bool run) {
  Decode decode(call, carver, workers);
  if (run) decode.Run();
}

}  // namespace tamis::cpu
